# attn_library(NAME OBJECTS): the shared library NAME and the static one NAME_static, of attn_objects and those OBJECTS.
function(attn_library name objects)
  add_library(${name} SHARED $<TARGET_OBJECTS:attn_objects> $<TARGET_OBJECTS:${objects}>)
  target_link_libraries(${name} PRIVATE attn_link_options ${CMAKE_DL_LIBS})
  target_link_options(${name} PRIVATE LINKER:--version-script=${PROJECT_SOURCE_DIR}/cmake/exports.map LINKER:--gc-sections)
  set_target_properties(${name} PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 1  # SOVERSION is ATTN_ABI_VERSION
                                           LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/exports.map)

  add_library(${name}_static STATIC $<TARGET_OBJECTS:attn_objects> $<TARGET_OBJECTS:${objects}>)
  target_link_libraries(${name}_static PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
  set_target_properties(${name}_static PROPERTIES OUTPUT_NAME ${name} EXCLUDE_FROM_ALL $<NOT:$<STREQUAL:${name},attn_runtime>>)

  foreach(target ${name} ${name}_static)
    add_library(attn_runtime::${target} ALIAS ${target})
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE CXX)
    target_include_directories(${target} INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                                   $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  endforeach()
endfunction()
