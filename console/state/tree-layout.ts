// Where the nodes of a token tree go: depth to the right, leaves one below the other, a parent halfway between its first
// and its last child.

export interface TreeLayout {
  readonly rows: number
  /** Of each node, in units of a cell. */
  readonly places: readonly { readonly column: number; readonly row: number }[]
}

/** `parents`: -1 for node 0; a parent comes before its children. */
export function layoutTree(parents: readonly number[]): TreeLayout {
  const children: number[][] = parents.map(() => [])
  const columns = parents.map(() => 0)
  parents.forEach((parent, node) => {
    if (node === 0) return
    children[parent]?.push(node)
    columns[node] = (columns[parent] ?? 0) + 1
  })
  const rows = new Array<number>(parents.length).fill(0)
  let nextRow = 0
  const place = (node: number): number => {
    const below = (children[node] ?? []).map(place)
    const first = below[0]
    const last = below.at(-1)
    const row = first === undefined || last === undefined ? nextRow++ : (first + last) / 2
    rows[node] = row
    return row
  }
  if (parents.length > 0) place(0)
  return {
    rows: nextRow,
    places: parents.map((_, node) => ({ column: columns[node] ?? 0, row: rows[node] ?? 0 })),
  }
}
