# Tests that do not run under an emulator of user programs (qemu), each with what it lacks. They run
# on real machines.

set(emulator_lacks_test_faults "thousands of child processes take the emulator too long")
set(emulator_lacks_test_locked "the emulator does not tell what is in memory")
if(CMAKE_SIZEOF_VOID_P EQUAL 4)
    set(emulator_lacks_test_block "the emulator does not let mappings grow in place")
endif()
