"""Functions that take any bytes and hold what is promised for them, for the fuzzer and for hypothesis."""
