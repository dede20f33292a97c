# What `cmake --install` puts down: the library, its two headers, and what CMake and pkg-config find it by. All of it by relative paths, so
# that the folder may be moved.
include(CMakePackageConfigHelpers)
set(config ${CMAKE_INSTALL_LIBDIR}/cmake/attn_runtime)
install(TARGETS attn_runtime EXPORT attn_runtimeTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/attn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT attn_runtimeTargets NAMESPACE attn_runtime:: DESTINATION ${config})
configure_package_config_file(cmake/attn_runtimeConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfig.cmake
                              INSTALL_DESTINATION ${config})
# Before 1.0, a program is built for one minor version.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfigVersion.cmake
        DESTINATION ${config})
file(RELATIVE_PATH ATTN_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" ATTN_PC_PREFIX "${ATTN_PC_PREFIX}")
configure_file(cmake/attn_runtime.pc.in attn_runtime.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/attn_runtime.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
