// Where the last n tokens of a sequence occurred before: hash chains over the positions, as LZ77 coders keep them.
//
// Invariants
//   N1  `matches` yields ends of real occurrences (tokens compared, not hashes), most recent first.
//   N2  About 12 bytes per token; a look-up visits at most MAX_VISITS chain links.

const MAX_VISITS = 64
const MIN_CAPACITY = 64
const HASH_FACTOR = 0x9e3779b1 | 0

/** An index of the n-grams of one growing sequence. The caller keeps the tokens and passes all of them each time. */
export class NgramIndex {
  private readonly n: number
  private heads = new Int32Array(MIN_CAPACITY).fill(-1) // bucket → end of its latest n-gram
  private links = new Int32Array(MIN_CAPACITY) // end → the end before it in the same bucket
  private indexed = 0 // tokens taken in

  constructor(n: number) {
    this.n = n
  }

  /** Takes in the tokens that came since the last call. */
  extend(tokens: Int32Array): void {
    if (tokens.length > this.heads.length) this.grow(tokens)
    for (; this.indexed < tokens.length; this.indexed++) this.insert(tokens, this.indexed)
  }

  /** Ends (index of the last token) of up to `limit` earlier occurrences of the n tokens that end the sequence. */
  matches(tokens: Int32Array, limit: number): number[] {
    const last = tokens.length - 1
    const ends: number[] = []
    if (last + 1 < this.n || this.indexed <= last) return ends
    let end = this.links[last]!
    for (let visits = 0; end >= 0 && visits < MAX_VISITS && ends.length < limit; visits++) {
      if (this.isSame(tokens, end, last)) ends.push(end)
      end = this.links[end]!
    }
    return ends
  }

  private insert(tokens: Int32Array, end: number): void {
    if (end + 1 < this.n) return
    const bucket = this.bucketOf(tokens, end)
    this.links[end] = this.heads[bucket]!
    this.heads[bucket] = end
  }

  private bucketOf(tokens: Int32Array, end: number): number {
    let hash = 0
    for (let i = end + 1 - this.n; i <= end; i++) hash = Math.imul(hash ^ tokens[i]! ^ (hash >>> 15), HASH_FACTOR)
    return (hash ^ (hash >>> 16)) & (this.heads.length - 1)
  }

  private isSame(tokens: Int32Array, end: number, other: number): boolean {
    for (let back = 0; back < this.n; back++) if (tokens[end - back] !== tokens[other - back]) return false
    return true
  }

  private grow(tokens: Int32Array): void {
    const capacity = 2 ** Math.ceil(Math.log2(tokens.length))
    this.heads = new Int32Array(capacity).fill(-1)
    this.links = new Int32Array(capacity)
    const indexed = this.indexed
    for (this.indexed = 0; this.indexed < indexed; this.indexed++) this.insert(tokens, this.indexed)
  }
}
