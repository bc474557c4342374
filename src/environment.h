/*
 * Layer 2: settings from environment variables: diagnostics, and the bound of the reserve. A value
 * that is not valid as a whole is reported on standard error and ignored.
 */
#ifndef JM_ENVIRONMENT_H
#define JM_ENVIRONMENT_H

/* Applies the variables. pre: called once, as the library is initialised. */
void jm_environment_read(void);

#endif
