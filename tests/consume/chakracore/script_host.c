/* Calls what needs an engine: it must not link. */
#include <ChakraCore.h>

JsErrorCode JsRunScript(const wchar_t *script, size_t cookie, const wchar_t *url,
                        JsValueRef *result);

int main(void)
{
    JsValueRef result = JS_INVALID_REFERENCE;
    return (int)JsRunScript(L"1 + 1", 0, L"", &result);
}
