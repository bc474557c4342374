# Tests that do not run under an emulator of user programs (qemu), each with what it lacks. They run
# on real machines.

set(restarts "the emulator does not start the program a second time")
set(emulator_lacks_test_accounts "${restarts}")
set(emulator_lacks_test_reserve "${restarts}")
set(emulator_lacks_test_events "the emulator keeps no limit of the address space")
set(emulator_lacks_test_faults "thousands of child processes take the emulator too long")
set(emulator_lacks_test_locked "the emulator does not tell what is in memory")
if(CMAKE_SIZEOF_VOID_P EQUAL 4)
    set(emulator_lacks_test_block "the emulator does not let mappings grow in place")
endif()
