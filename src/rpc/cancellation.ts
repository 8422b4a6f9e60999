// How a call that waits is called off, where a signal would cost too much.

/** Gets its `cancel` from whoever it is given to. */
export interface Cancellation {
  cancel?: () => void
}
