// Scratch memory of the sampler. Sampling is synchronous, so one workspace serves every sequence of a process: no
// token allocates, and a sequence holds no buffers of its own.

export interface Workspace {
  readonly scores: Float64Array // [vocab]
  readonly ids: Int32Array // [vocab], candidate tokens
  readonly counts: Int32Array // [vocab], all zero between calls
}

let shared: Workspace | undefined

/** The process's workspace for logits of this many tokens; what it holds is garbage, except `counts`. */
export function workspaceFor(vocabSize: number): Workspace {
  if (shared?.scores.length !== vocabSize) {
    shared = {
      scores: new Float64Array(vocabSize),
      ids: new Int32Array(vocabSize),
      counts: new Int32Array(vocabSize),
    }
  }
  return shared
}
