/* A plug-in that nothing keeps: whether it goes when it is dropped tells whether this libc unloads. */
__attribute__((visibility("default"))) int plugin_empty(void);

int plugin_empty(void)
{
    return 0;
}
