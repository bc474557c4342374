/*
 * Layer 2: what whoever starts a process sets by its environment: diagnostics, and the bound of the reserve. A value that is
 * not right in full is named on standard error, and ignored.
 */
#ifndef JM_ENVIRONMENT_H
#define JM_ENVIRONMENT_H

/* Does as the variables say. pre: called once, as the library is prepared. */
void jm_environment_read(void);

#endif
