# attn_embed_schema(RESULT FILE NAME): a source file of the build that holds attn_runtime/FILE as NAME_text, so that the repository has one
# copy of it and the library needs no file at run time. Made again when the schema changes.
function(attn_embed_schema result file name)
  get_filename_component(schema ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../../attn_runtime/${file} ABSOLUTE)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/${name}.cpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${schema})
  file(READ ${schema} hexadecimal HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hexadecimal}")
  string(REPLACE "0x0a," "0x0a,\n" bytes "${bytes}")  # a line of code for a line of the schema
  set(text "// Made of runtime/attn_runtime/${file} by cmake/EmbedSchema.cmake.\n#include <cstddef>\n\nnamespace attn {\n\n")
  string(APPEND text "extern const unsigned char ${name}_text[] = {\n${bytes}\n};\n")
  string(APPEND text "extern const size_t ${name}_bytes = sizeof ${name}_text;\n\n}  // namespace attn\n")
  file(CONFIGURE OUTPUT ${source} CONTENT "${text}" @ONLY)  # written only where it differs
  set(${result} ${source} PARENT_SCOPE)
endfunction()
