// A durable map with compare-and-set: what must outlive a process. The journal keeps accepted requests in it.
// Three of them: JetStream (over NATS), an append-only file (local transport) and memory (nothing outlives the process).
//
// Contract
//   D1  `put` resolves when the value is durable, and only then; after a crash at any moment the store holds the value
//       of the last put that resolved, or of one that was under way.
//   D2  A put whose expected revision is not the key's is refused (`aborted`, reason REVISION) and changes nothing.
//   D3  Revisions of a key rise; a removed key starts as if it had never been.
//   D4  What does not fit is refused with `resource_exhausted`; a store out of reach is `unavailable`, within the deadline.
//   D5  Keys are any text of 1 to 256 characters.

export interface Stored {
  readonly value: Uint8Array
  readonly revision: number // > 0
}

export interface RecordStore {
  /** Whether what it holds outlives this process. */
  readonly isDurable: boolean
  /** Sets the value where the key's revision is `expected` (0: it must be absent); returns the new revision. */
  put(key: string, value: Uint8Array, expected: number, options: { readonly timeoutMs: number }): Promise<number>
  get(key: string, options: { readonly timeoutMs: number }): Promise<Stored | undefined>
  /** Forgets the key; says nothing where it is unknown. */
  remove(key: string, options: { readonly timeoutMs: number }): Promise<void>
  close(): Promise<void>
}
