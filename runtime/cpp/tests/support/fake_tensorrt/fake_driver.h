// What the fake driver has beside the driver's own functions.
#pragma once

#include <cstddef>
#include <functional>

// Work of a stream: done when somebody waits for the stream, and not a moment before.
void fake_push(void* stream, std::function<void()> work);
void fake_finish(void* stream);
// Whether `bytes` from there on are memory of the device that was allocated, and not freed.
bool fake_on_device(const void* memory, size_t bytes);

// What was given out and not given back: allocations, streams, contexts made current, holds on the primary context.
extern "C" int fake_driver_held(void);
// The next `count` allocations succeed, those after it fail; -1: all succeed.
extern "C" void fake_driver_memory(int count);
