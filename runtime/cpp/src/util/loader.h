// What the dynamic loader tells: where a loaded library lies, and why one does not load.
#pragma once

#include <filesystem>
#include <string>

namespace attn {

// The file that holds an address of a loaded library; empty where the loader can't tell.
std::filesystem::path file_of(const void* address);

// The folder that this library was loaded from.
std::filesystem::path own_folder();

// Why the last dlopen failed, in one line.
std::string said_by_loader();

}  // namespace attn
