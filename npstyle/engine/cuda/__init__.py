"""The engine on NVIDIA GPUs, with CuPy and CUDA kernels."""
