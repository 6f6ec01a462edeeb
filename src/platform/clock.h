/* Monotonic and wall time. */
#ifndef TD_PLATFORM_CLOCK_H
#define TD_PLATFORM_CLOCK_H

double td_clock_seconds(void);      /* monotonic, for differences */
double td_clock_wall_seconds(void); /* since 1970 */

#endif
