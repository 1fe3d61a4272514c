// Which thread this instance belongs to, and the scratch that is its alone.

const SCRATCH: usize = 192 // address of the first thread's
const SCRATCH_STRIDE: usize = 196

let thread: usize = 0

/** Tells the instance its thread: 0 is the one that publishes. */
export function setThread(index: i32): void {
  thread = <usize>index
}

// @ts-ignore: decorator
@inline
export function threadScratch(): usize {
  return load<usize>(SCRATCH) + thread * load<usize>(SCRATCH_STRIDE)
}
