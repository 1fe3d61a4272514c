// The compiled half of onnxruntime-node, which its public half calls from a timer: called directly, a run costs a third.
// The package is pinned to one exact version (docs/decisions/0006).

declare module 'onnxruntime-node/dist/binding.js' {
  import type { Tensor } from 'onnxruntime-node'

  export interface NativeSession {
    loadModel(buffer: ArrayBufferLike, byteOffset: number, byteLength: number, options: object): void
    run(
      feeds: Readonly<Record<string, Tensor>>,
      fetches: Readonly<Record<string, Tensor | null>>,
      options: object,
    ): Readonly<Record<string, Tensor>>
    dispose(): void
    readonly outputMetadata: readonly { readonly name: string }[]
  }

  export const binding: { readonly InferenceSession: new () => NativeSession }
  /** Starts the engine once per thread. */
  export function initOrt(): void
}
