// The part of WebAssembly's interface that the engine uses: it is not in Node's own types.

declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array)
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: boolean })
    readonly buffer: SharedArrayBuffer
    grow(pages: number): number
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, Memory | ((...numbers: number[]) => void)>>)
    /** The kernels export functions of numbers only. */
    readonly exports: Readonly<Record<string, ((...numbers: number[]) => number | undefined) | undefined>>
  }
}
