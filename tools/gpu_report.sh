#!/usr/bin/env bash
# Run the GPU tests and benchmarks, and write one report.
#
#     tools/gpu_report.sh [FOLDER [NETWORK.npz]]
#
# Runs in a plain checkout. It installs and downloads nothing; CuPy, PyTorch and pytest must be
# installed. Each step has a time limit, and all steps together take less than nine minutes. The
# report, FOLDER/report.md (default: gpu-report/report.md), is rewritten after each step, so an
# interrupted run leaves a report as well. NETWORK is a weights file (default: random filters).
#
# Environment variables: PYTHON, the interpreter (default: python3); SECONDS_IN_ALL, TESTS_SECONDS
# and BENCHMARK_SECONDS, the time limits of everything, of the tests and of one benchmark (default:
# 520, 170 and 85).
set -uo pipefail

if [ "${1:-}" = --help ]; then
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
    exit
fi

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-gpu-report}
mkdir -p "$folder" || exit 2
report=$(cd "$folder" && pwd)/report.md
folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
network=()
[ $# -lt 2 ] || network=("$(realpath "$2")")
cd "$root" || exit 2

python=${PYTHON:-python3}
all=${SECONDS_IN_ALL:-520}
tests_seconds=${TESTS_SECONDS:-170}
benchmark_seconds=${BENCHMARK_SECONDS:-85}
export PYTHONPATH=$root PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
export NPSTYLE_TESTS_ON_GPU=1 # without CuPy and a GPU the tests are errors
# Compile everything anew, and do not write to the home folder, which may be read-only.
export CUPY_CACHE_DIR=$folder/kernels TORCHINDUCTOR_CACHE_DIR=$folder/inductor
SECONDS=0
: >"$folder/steps.tsv"

# step NAME LIMIT COMMAND...: run a command for at most LIMIT seconds. The output goes to NAME.log,
# the outcome to steps.tsv.
step() {
    local name=$1 limit=$2 begin ended left took
    shift 2
    left=$((all - SECONDS))
    if [ "$left" -lt 10 ]; then
        printf '%s\tno time left\t0\n' "$name" >>"$folder/steps.tsv"
        return
    fi
    [ "$limit" -lt "$left" ] || limit=$left
    begin=${EPOCHREALTIME//[.,]/}
    timeout -k 5 "$limit" "$@" >"$folder/$name.log" 2>&1
    ended=$?
    took=$(((${EPOCHREALTIME//[.,]/} - begin) / 10000))
    printf -v took '%d.%02d' $((took / 100)) $((took % 100))
    case $ended in
    0) ended=done ;;
    124 | 137) ended="stopped after $limit s" ;;
    *) ended="failed ($ended)" ;;
    esac
    printf '%s\t%s\t%s\n' "$name" "$ended" "$took" >>"$folder/steps.tsv"
    echo "$name: $ended, $took s"
    "$python" tools/gpu_report.py "$folder" "$report"
}

pictures=("$folder/photo.png" "$folder/painting.png")
weights=$folder/network.npz

# Where torch.compile fails or takes too long, the benchmark runs once more without it.
benchmark() {
    local out=$folder/benchmark-$1.json
    local command=("$python" tools/benchmark.py "${pictures[@]}" --network "$weights" --device cuda
        --sizes "$1" "${@:2}")
    step "benchmark-$1" "$benchmark_seconds" "${command[@]}" --out "$out"
    grep -qs evaluation_s "$out" ||
        step "benchmark-$1-eager" "$benchmark_seconds" "${command[@]}" --no-compile --out "$out"
}

step inputs 60 "$python" tools/gpu_inputs.py "$folder" "${network[@]}"
# Each file in a process of its own: after an illegal access CUDA refuses all further work of the
# process, and the remaining tests of that process fail too.
tests_end=$((SECONDS + tests_seconds))
for file in engine/cuda/test_stand_in engine/cuda/test_textbook engine/cuda/test_tensor_cores \
    engine/cuda/test_objective engine/cuda/test_replay engine/cuda/test_search \
    engine/cuda/test_feedforward lab/test_agreement lab/test_on_gpu run/test_gpu_transfer \
    run/test_gpu_training; do
    only=()
    [ "$file" != lab/test_agreement ] || only=(-k Gpu) # the others run on the CPU
    left=$((tests_end - SECONDS))
    step "tests-${file##*/test_}" $((left > 10 ? left : 10)) "$python" -m pytest -q \
        -p no:cacheprovider --tb=short "tests/$file.py" "${only[@]}"
done
step gradcheck 60 "$python" tools/gpu_gradcheck.py
step training 40 "$python" tools/benchmark_gpu_training.py --out "$folder/training.json"
benchmark 512 --accuracy 256
benchmark 1024
for library in npstyle pytorch; do
    for precision in float32 tf32; do
        step "job-$library-$precision" 40 "$python" tools/whole_job.py "$library" \
            "${pictures[@]}" "$weights" 512 500 4 cuda "$precision"
    done
done
benchmark 256
benchmark 2048
"$python" tools/gpu_report.py "$folder" "$report" || exit 1
echo "wrote $report after $SECONDS s"
