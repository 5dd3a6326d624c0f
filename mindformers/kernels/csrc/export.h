// What the library shows to others; everything else is hidden.
#pragma once

#define EXPORT extern "C" __attribute__((visibility("default")))
