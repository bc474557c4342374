#include "child.h"
#include "system.h"
#include "unit.h"

#include <process.h>
#include <stdatomic.h>
#include <windows.h>

#define TEXT_MAX 1024

int child_run_again(const char *argument, const char *variable, const char *value)
{
    char program[TEXT_MAX];
    char before[TEXT_MAX];

    (void)fflush(NULL);
    DWORD length = GetModuleFileNameA(NULL, program, sizeof(program));
    if (length == 0 || length == sizeof(program)) {
        return -1;
    }
    length = GetEnvironmentVariableA(variable, before, sizeof(before));
    bool was_set = length > 0 && length < sizeof(before);
    (void)SetEnvironmentVariableA(variable, value);
    intptr_t status = _spawnl(_P_WAIT, program, "child", argument, (char *)NULL);
    (void)SetEnvironmentVariableA(variable, was_set ? before : NULL);
    return status >= 0 && status <= 255 ? (int)status : -1; /* a crash gives a larger one */
}

/* Remembered: tests ask a million times. */
size_t page_size(void)
{
    static atomic_size_t size;

    if (atomic_load(&size) == 0) {
        SYSTEM_INFO info;
        GetSystemInfo(&info);
        atomic_store(&size, info.dwPageSize);
    }
    return atomic_load(&size);
}

char *no_access_new(size_t size)
{
    return VirtualAlloc(NULL, size, MEM_RESERVE, PAGE_NOACCESS);
}

bool no_access_delete(char *pages, size_t size)
{
    (void)size;
    return VirtualFree(pages, 0, MEM_RELEASE) != 0;
}

bool scratch_file(char *name, size_t size)
{
    char folder[MAX_PATH + 1];

    return size >= MAX_PATH && GetTempPathA(sizeof(folder), folder) != 0 &&
           GetTempFileNameA(folder, "jsr", 0, name) != 0;
}
