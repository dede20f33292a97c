# What `cmake --install` puts down: the libraries, the two headers, and what CMake and pkg-config find them by. All of it by relative paths, so
# that the folder may be moved. Component Runtime is what a program needs that runs, Development what one needs that is built.
include(CMakePackageConfigHelpers)
set(config ${CMAKE_INSTALL_LIBDIR}/cmake/attn_runtime)
install(TARGETS attn_runtime attn_runtime_static EXPORT attn_runtimeTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT Runtime NAMELINK_COMPONENT Development
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT Development)
install(DIRECTORY include/attn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT Development)
install(EXPORT attn_runtimeTargets NAMESPACE attn_runtime:: DESTINATION ${config} COMPONENT Development)
configure_package_config_file(cmake/attn_runtimeConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfig.cmake
                              INSTALL_DESTINATION ${config})
# Before 1.0, a program is built for one minor version.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/attn_runtimeConfigVersion.cmake
        DESTINATION ${config} COMPONENT Development)
file(RELATIVE_PATH ATTN_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" ATTN_PC_PREFIX "${ATTN_PC_PREFIX}")
configure_file(cmake/attn_runtime.pc.in attn_runtime.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/attn_runtime.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT Development)
