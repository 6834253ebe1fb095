# Defines the target MindSporeLite::MindSporeLite, from MSLITE_ROOT:
#   the Python package     include/api/model.h          lib/libmindspore-extendrt_python.so
#   an archive, unpacked   runtime/include/api/model.h  runtime/lib/libmindspore-lite.so
set(MSLITE_ROOT "$ENV{MSLITE_ROOT}" CACHE PATH "Folder of the mindspore_lite package or of an unpacked archive")

find_path(MindSporeLite_ROOT_DIR include/api/model.h
  PATHS "${MSLITE_ROOT}" PATH_SUFFIXES runtime NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
find_library(MindSporeLite_LIBRARY NAMES mindspore-lite mindspore-extendrt_python
  PATHS "${MindSporeLite_ROOT_DIR}/lib" NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(MindSporeLite
  REQUIRED_VARS MindSporeLite_LIBRARY MindSporeLite_ROOT_DIR
  REASON_FAILURE_MESSAGE "set MSLITE_ROOT to the mindspore_lite package or to an unpacked archive")

if(MindSporeLite_FOUND AND NOT TARGET MindSporeLite::MindSporeLite)
  add_library(MindSporeLite::MindSporeLite SHARED IMPORTED)
  # The headers include each other as "include/api/..." and as "mindapi/...".
  set_target_properties(MindSporeLite::MindSporeLite PROPERTIES
    IMPORTED_LOCATION "${MindSporeLite_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${MindSporeLite_ROOT_DIR};${MindSporeLite_ROOT_DIR}/include")
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    # The library of the Python package refers to symbols that only a Python process or CANN has, and finds its
    # neighbours by the program's path (DT_RPATH, not the newer DT_RUNPATH, which does not reach that far).
    set_target_properties(MindSporeLite::MindSporeLite PROPERTIES
      INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined,--disable-new-dtags")
  endif()
endif()
