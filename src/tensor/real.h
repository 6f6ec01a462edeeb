/* The scalar of the engine: float in the library, double in the build that the gradient checks run against (TD_DOUBLE), so that
 * the code which trains is the code which is checked. */
#ifndef TD_TENSOR_REAL_H
#define TD_TENSOR_REAL_H

#ifdef TD_DOUBLE
typedef double td_real;
#else
typedef float td_real;
#endif

#endif
