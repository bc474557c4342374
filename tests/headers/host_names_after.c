/* A host that brings Windows' type names and SAL macros after the headers: nothing leaked. */
#include "jsrt.h"
#include "jsrtmem.h"

#if defined(_In_) || defined(_In_opt_) || defined(_In_z_) || defined(_In_reads_) ||      \
    defined(_Inout_) || defined(_Out_) || defined(_Out_opt_) || defined(_Out_writes_) || \
    defined(_Ret_maybenull_) || defined(_Return_type_success_)
#error "a SAL macro leaks"
#endif
#if defined(CALLBACK) && !defined(USE_EDGEMODE_JSRT)
#error "CALLBACK leaks"
#endif

#define _In_
#define _In_opt_
#define _Out_ /* something else */
#define _Out_opt_

typedef unsigned char BYTE;
typedef BYTE byte;
typedef unsigned long DWORD;
typedef struct host_handle *HANDLE;
typedef unsigned int UINT32;
typedef long INT64;
typedef unsigned short WCHAR;
typedef int BOOL;

extern HANDLE header_handle;
extern DWORD header_dword;
