/* A plug-in that nothing keeps: tells whether this libc unloads what is dropped. */
__attribute__((visibility("default"))) int plugin_empty(void);

int plugin_empty(void)
{
    return 0;
}
