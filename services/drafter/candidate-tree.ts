// The tree that the sources of a drafter build together: a token that several propose after the same path is one node.
//
// Invariants
//   C1  Node 0 is the last committed token; a parent comes before its children; children of a node differ.
//   C2  A node's value is its parent's times its own probability, so the most valuable nodes form a tree.

/** What an estimate is worth. */
export interface Calibrator {
  /** The probability that a node is right after its parent, by what a source said of it at that depth. */
  ofSource(source: number, depth: number, probability: number): number
  /** The same for a node that these sources proposed (bit i: source i), by the best of their calibrated estimates. */
  ofSources(sources: number, probability: number): number
}

interface Weighed {
  readonly values: Float64Array
  readonly covered: Float64Array
}

export class CandidateTree {
  readonly tokens: number[]
  readonly parents: number[] = [-1]
  readonly depths: number[] = [0]
  readonly sources: number[] = [0] // bit i: source i proposed it
  readonly estimates: number[] = [1] // the best calibrated one of its sources
  private readonly children = [new Map<number, number>()] // token → node
  private readonly raw = [new Map<number, number>()] // source → what it said
  private readonly calibrator: Calibrator
  private readonly capacity: number
  private known: Weighed | undefined // until the tree changes

  constructor(root: number, calibrator: Calibrator, capacity: number) {
    this.tokens = [root]
    this.calibrator = calibrator
    this.capacity = capacity
  }

  get size(): number {
    return this.tokens.length
  }

  get isFull(): boolean {
    return this.size >= this.capacity
  }

  /** The child of `parent` that carries `token`, made where there is none; undefined where the tree is full. */
  add(parent: number, token: number, source: number, probability: number): number | undefined {
    const depth = this.depths[parent]! + 1
    const node = this.children[parent]!.get(token) ?? this.create(parent, token, depth)
    if (node === undefined) return undefined
    const estimate = this.calibrator.ofSource(source, depth, probability)
    this.known = undefined
    this.sources[node]! |= 1 << source
    this.raw[node]!.set(source, probability)
    this.estimates[node] = Math.max(this.estimates[node]!, estimate)
    return node
  }

  child(parent: number, token: number): number | undefined {
    return this.children[parent]?.get(token)
  }

  /** The nodes that tokens after the root come by, the root first: one more than tokens where all of them are here. */
  walk(tokens: ArrayLike<number>): number[] {
    const nodes = [0]
    for (let i = 0; i < tokens.length; i++) {
      const next = this.child(nodes[i]!, tokens[i]!)
      if (next === undefined) break
      nodes.push(next)
    }
    return nodes
  }

  childrenOf(parent: number): Iterable<number> {
    return this.children[parent]?.values() ?? []
  }

  /** What a source said of a node, undefined where it did not propose it at this depth. */
  rawOf(node: number, source: number): number | undefined {
    return this.raw[node]?.get(source)
  }

  /** The tokens from below the root to the node. */
  path(node: number): number[] {
    const path: number[] = []
    for (let at = node; at > 0; at = this.parents[at]!) path.push(this.tokens[at]!)
    return path.reverse()
  }

  /** Estimated probability that the path to each node is accepted: [size], 1 for the root. Valid until the next `add`. */
  values(): Float64Array {
    return this.weighed().values
  }

  /** Of each node the probability that what follows it is one of its children: [size]. Valid until the next `add`. */
  covered(): Float64Array {
    return this.weighed().covered
  }

  /** A node's probability after its parent is its estimate's; those of siblings add up to 1 at most. */
  private weighed(): Weighed {
    if (this.known !== undefined) return this.known
    const values = new Float64Array(this.size)
    const covered = new Float64Array(this.size)
    for (let node = 1; node < this.size; node++) {
      values[node] = this.calibrator.ofSources(this.sources[node]!, this.estimates[node]!)
      covered[this.parents[node]!]! += values[node]!
    }
    values[0] = 1
    for (let node = 1; node < this.size; node++) {
      const parent = this.parents[node]!
      values[node]! *= values[parent]! / Math.max(1, covered[parent]!)
    }
    for (let node = 0; node < this.size; node++) covered[node] = Math.min(1, covered[node]!)
    this.known = { values, covered }
    return this.known
  }

  /** What was drafted below a node, as the tree of that node and proposed by `source`: its path has been committed. */
  below(node: number, source: number): CandidateTree {
    const tree = new CandidateTree(this.tokens[node]!, this.calibrator, this.capacity)
    const places = new Map([[node, 0]])
    for (let at = node + 1; at < this.size; at++) {
      const parent = places.get(this.parents[at]!)
      if (parent === undefined) continue
      const place = tree.add(parent, this.tokens[at]!, source, this.estimates[at]!)
      if (place === undefined) break
      places.set(at, place)
      tree.sources[place]! |= this.sources[at]!
    }
    return tree
  }

  private create(parent: number, token: number, depth: number): number | undefined {
    if (this.isFull) return undefined
    const node = this.tokens.push(token) - 1
    this.parents.push(parent)
    this.depths.push(depth)
    this.sources.push(0)
    this.estimates.push(0)
    this.children.push(new Map())
    this.raw.push(new Map())
    this.children[parent]!.set(token, node)
    return node
  }
}
