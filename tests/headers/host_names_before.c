/*
 * A host that has Windows' type names and SAL macros of its own before the headers. The macros are
 * numbers here: a header that used one in a declaration would not compile.
 */
typedef unsigned char BYTE;
typedef BYTE byte;
typedef unsigned long DWORD;
typedef struct host_handle *HANDLE;
typedef unsigned int UINT32;
typedef long INT64;
typedef unsigned short WCHAR;
typedef int BOOL;

#define _In_ 1
#define _In_opt_ 2
#define _In_z_ 3
#define _In_reads_(size) 4
#define _Inout_ 5
#define _Out_ 6
#define _Out_opt_ 7
#define _Out_writes_(size) 8
#define _Ret_maybenull_ 9
#define _Return_type_success_(expression) 10

#include "jsrt.h"
#include "jsrtmem.h"

/* They are still the host's. */
typedef char host_in[_In_ == 1 && _In_opt_ == 2 && _In_z_ == 3 && _In_reads_(0) == 4 ? 1 : -1];
typedef char
    host_out[_Inout_ == 5 && _Out_ == 6 && _Out_opt_ == 7 && _Out_writes_(0) == 8 ? 1 : -1];
typedef char host_ret[_Ret_maybenull_ == 9 && _Return_type_success_(0) == 10 ? 1 : -1];

extern HANDLE header_handle;
extern DWORD header_dword;
