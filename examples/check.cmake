# Runs a command and checks its exit code, and that texts appear in its output, in this order.
# usage: cmake -DEXIT_CODE=n "-DEXPECT=text;text..." -P check.cmake -- command...

set(command)
set(taking FALSE)
foreach(index RANGE 1 ${CMAKE_ARGC})
    if(taking AND index LESS CMAKE_ARGC)
        list(APPEND command "${CMAKE_ARGV${index}}")
    elseif("${CMAKE_ARGV${index}}" STREQUAL "--")
        set(taking TRUE)
    endif()
endforeach()

execute_process(COMMAND ${command}
    RESULT_VARIABLE exit_code OUTPUT_VARIABLE output ERROR_VARIABLE output)
message("${output}")
if(NOT exit_code STREQUAL EXIT_CODE)
    message(FATAL_ERROR "exit code ${exit_code}, expected ${EXIT_CODE}")
endif()

set(rest "${output}")
foreach(text IN LISTS EXPECT)
    string(FIND "${rest}" "${text}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "not found, or not in its place: ${text}")
    endif()
    string(LENGTH "${text}" length)
    math(EXPR at "${at} + ${length}")
    string(SUBSTRING "${rest}" ${at} -1 rest)
endforeach()
