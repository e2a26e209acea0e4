"""The fast objective: the mathematics of `npstyle.maths`, with threads, strips and GPUs."""
