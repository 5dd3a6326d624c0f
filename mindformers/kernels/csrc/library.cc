// What the Python side reads to know this library.

#include "export.h"

// Number of the format of calls between Python and this library; both must have the same one.
EXPORT int mindformers_kernels_format() { return 1; }
