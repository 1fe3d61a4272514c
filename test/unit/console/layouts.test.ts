// Where the console draws trees and processes.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { layoutTopology } from '../../../console/state/topology-layout.js'
import { layoutTree } from '../../../console/state/tree-layout.js'
import type { ConsoleProcess } from '../../../lib/console/frame.js'

/** Parents of a random tree: each node's comes before it. */
const parentsOf = fc
  .array(fc.nat(), { minLength: 1, maxLength: 60 })
  .map((draws) => draws.map((draw, node) => (node === 0 ? -1 : draw % node)))

describe('layoutTree', () => {
  //       0
  //      / \
  //     1   2
  //     |
  //     3
  it('puts depth to the right, leaves below each other, and a parent halfway between its children', () => {
    assert.deepEqual(layoutTree([-1, 0, 0, 1]), {
      rows: 2,
      places: [
        { column: 0, row: 0.5 },
        { column: 1, row: 0 },
        { column: 1, row: 1 },
        { column: 2, row: 0 },
      ],
    })
  })

  it('gives every node of any tree a place of its own, inside the picture', () => {
    fc.assert(
      fc.property(parentsOf, (parents) => {
        const { rows, places } = layoutTree(parents)
        assert.equal(new Set(places.map(({ column, row }) => `${column} ${row}`)).size, parents.length)
        assert.ok(places.every(({ column, row }) => column < parents.length && row <= rows - 1))
      }),
    )
  })

  it('of no nodes is empty', () => assert.deepEqual(layoutTree([]), { rows: 0, places: [] }))
})

const process = (role: string, index: number, state: ConsoleProcess['state'] = 'ready'): ConsoleProcess => ({
  role,
  id: `${role}-${index}`,
  pid: 100 + index,
  state,
  deviceClass: 'cpu',
  shards: [],
  load: {},
})

describe('layoutTopology', () => {
  const many = (role: string, count: number): ConsoleProcess[] =>
    Array.from({ length: count }, (_, i) => process(role, i))

  it('joins this router to attention workers, these to expert workers, and the router to drafters', () => {
    const processes = [
      ...many('router', 2),
      ...many('attention', 2),
      ...many('expert-worker', 3),
      ...many('drafter', 1),
    ]
    const kinds = layoutTopology(processes, 900, 'router-1').edges.map(({ kind }) => kind)
    const count = (wanted: string): number => kinds.filter((kind) => kind === wanted).length
    assert.deepEqual([count('step'), count('experts'), count('draft')], [2, 6, 1])
  })

  it('lets no way lead to a dead process, and shows it after the living', () => {
    const processes = [process('router', 0), process('attention', 0, 'dead'), process('attention', 1)]
    const { edges, cards } = layoutTopology(processes, 900, 'router-0')
    assert.equal(edges.length, 1)
    const attention = cards.filter((card) => card.process.role === 'attention')
    assert.deepEqual(
      attention.map((card) => card.process.id),
      ['attention-1', 'attention-0'],
    )
  })

  it('overlaps no cards at any size, and says how many it leaves out', () => {
    const counts = fc.record({ routers: fc.integer({ min: 1, max: 5 }), attention: fc.nat(30), experts: fc.nat(60) })
    fc.assert(
      fc.property(counts, fc.integer({ min: 320, max: 3000 }), ({ routers, attention, experts }, width) => {
        const processes = [
          ...many('router', routers),
          ...many('attention', attention),
          ...many('expert-worker', experts),
        ]
        const { cards, headings, height } = layoutTopology(processes, width, 'router-0')
        for (const [i, a] of cards.entries()) {
          assert.ok(a.x >= 0 && a.x + a.width <= width + 1e-6 && a.y + a.height <= height)
          for (const b of cards.slice(i + 1)) {
            const isApart =
              a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y
            assert.ok(isApart, `${a.key} lies over ${b.key}`)
          }
        }
        const hidden = headings.reduce((sum, { text }) => sum + Number(/(\d+) not shown/.exec(text)?.[1] ?? 0), 0)
        assert.equal(cards.length + hidden, processes.length)
      }),
    )
  })
})
