// What the fuzz targets feed. Each aborts where an answer is neither a value nor an error of one line, of the status that its reader has.
#pragma once

#include <cstddef>
#include <cstdint>

void fuzz_manifest(const uint8_t* data, size_t size);
void fuzz_safetensors(const uint8_t* data, size_t size);
void fuzz_external_data(const uint8_t* data, size_t size);
// A tokenizer.json and, behind a NUL, a text.
void fuzz_tokenizer(const uint8_t* data, size_t size);
void fuzz_wav(const uint8_t* data, size_t size);
void fuzz_regex(const uint8_t* data, size_t size);
