// W1 to W3: the token tree of a step as a drawing.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { stripVTControlCharacters } from 'node:util'
import { drawLegend, drawPlainSteps, drawTree } from '../../../cli/generation/draw-tree.js'
import { piece, widthOf } from '../../../cli/generation/styled-text.js'
import { createTreeView } from '../../../cli/generation/tree-view.js'
import type { StepTree } from '../../../sdk/src/index.js'
import { anyTree } from '../speculative/draw-tree.js'

type Node = readonly [text: string, parent: number, value?: number, ...sources: readonly string[]]

const treeOf = (nodes: readonly Node[], accepted: readonly number[] = [0], rest: Partial<StepTree> = {}): StepTree => ({
  nodes: nodes.map(([text, parent, value = 0.5, ...sources], i) => ({ token: 100 + i, text, parent, value, sources })),
  accepted,
  proposed: 24,
  price: 0.12,
  plainMs: 6.2,
  predictedMs: 9.1,
  stepMs: 8.43,
  draftMs: 0.31,
  ...rest,
})

const plain = { title: 'step 3', color: false, width: 100 }
const bodyOf = (drawing: string): string[] => drawing.split('\n').filter((line) => line.startsWith('  '))
const widest = (drawing: string): number => Math.max(...drawing.split('\n').map((line) => widthOf([piece(line)])))

describe('drawTree', () => {
  const branches = treeOf(
    [
      ['return', -1, 1],
      [' a', 0, 0.91, 'prompt-lookup'],
      [' +', 1, 0.84, 'prompt-lookup', 'suffix'],
      [' c', 2, 0.72, 'ngram'],
      [' b', 2, 0.11, 'suffix'],
      [';', 3, 0.6, 'ngram'],
      ['\n', 0, 0.14, 'suffix'],
    ],
    [0, 1, 2, 4],
  )

  it('puts branches beside each other, the accepted one first', () => {
    assert.deepEqual(drawTree(branches, plain).split('\n'), [
      'step 3  +4 tokens · 6 of 24 nodes · price 12% · 8.4 ms (predicted 9.1, plain 6.2) · draft 0.3 ms',
      '  "return" ┬→ ✓" a" 91% pl → ✓" +" 84% pl+suf ┬→ ✓" b" 11% suf',
      '           │                                  └→ " c" 72% ngr → ";" 60%',
      '           └→ "\\n" 14% suf',
    ])
  })

  it('puts them below each other where the terminal is narrow', () => {
    assert.deepEqual(drawTree(branches, { ...plain, width: 44 }).split('\n'), [
      'step 3  +4 tokens · 6 of 24 nodes ·',
      '    price 12% ·',
      '    8.4 ms (predicted 9.1, plain 6.2) ·',
      '    draft 0.3 ms',
      '  "return"',
      '   ├→ ✓" a" 91% pl → ✓" +" 84% pl+suf',
      '   │   ├→ ✓" b" 11% suf',
      '   │   └→ " c" 72% ngr → ";" 60%',
      '   └→ "\\n" 14% suf',
    ])
  })

  it('keeps a chain on one line, and wraps it at the width', () => {
    const chain = treeOf(
      Array.from({ length: 8 }, (_, i): Node => [`t${i}`, i - 1, 1 - i / 10, 'suffix']),
      [0, 1],
    )
    assert.equal(bodyOf(drawTree(chain, plain)).length, 1)
    assert.deepEqual(bodyOf(drawTree(chain, { ...plain, width: 52 })).slice(-2), [
      '  "t0" → ✓"t1" 90% suf → "t2" 80% → "t3" 70% →',
      '      "t4" 60% → "t5" 50% → "t6" 40% → "t7" 30%',
    ])
  })

  it('names a token without text by its id, and shortens a long one', () => {
    const [line = ''] = bodyOf(
      drawTree(
        treeOf([
          ['a', -1],
          ['', 0],
          ['-'.repeat(80), 1],
        ]),
        plain,
      ),
    )
    assert.equal(line, `  "a" → #101 50% → "${'-'.repeat(23)}…" 50%`)
  })

  it('says little of a small chance, and of a prediction that there is not', () => {
    const drawing = drawTree(
      treeOf(
        [
          ['a', -1],
          ['b', 0, 0.001],
        ],
        [0],
        { predictedMs: 0, plainMs: 0 },
      ),
      plain,
    )
    assert.match(drawing, /price 12% · 8\.4 ms · draft/)
    assert.match(drawing, /"b" <1%/)
  })

  it('colours the accepted path instead of marking it', () => {
    const drawing = drawTree(branches, { ...plain, color: true })
    assert.doesNotMatch(drawing, /✓/)
    assert.ok(drawing.includes('\u001b[1m\u001b[32m" b"\u001b[39m\u001b[22m'), drawing)
    assert.match(stripVTControlCharacters(drawing), /"return" ┬→ " a" 91% pl → " \+" 84% pl\+suf ┬→ " b" 11% suf\n/)
  })

  const drawn = fc.record({
    tree: anyTree({ maxNodes: 48, vocabSize: 9 }),
    values: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 48, maxLength: 48 }),
    width: fc.integer({ min: 40, max: 160 }),
  })

  it('has every node once (W1)', () => {
    fc.assert(
      fc.property(drawn, ({ tree, values, width }) => {
        const nodes = Array.from(tree.parents, (parent, i): Node => [`<${i}>`, parent, values[i] ?? 0])
        const names = drawTree(treeOf(nodes), { ...plain, width }).match(/<\d+>/g) ?? []
        assert.deepEqual(names.sort(), nodes.map(([name]) => name).sort())
      }),
    )
  })

  it('is no wider than the terminal where its branches are few', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 40 }), fc.integer({ min: 60, max: 160 }), (turns, width) => {
        const nodes = [0, ...turns].map((turn, i): Node => [`<${i}>`, i === 0 ? -1 : turn === 0 ? 0 : i - 1])
        assert.ok(widest(drawTree(treeOf(nodes), { ...plain, width })) <= width)
      }),
    )
  })

  it('lets no control character through (W3)', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const drawing = drawTree(
          treeOf([
            [text, -1],
            [`\u009b2J\u202e${text}`, 0],
          ]),
          plain,
        )
        assert.doesNotMatch(drawing.replaceAll('\n', ''), /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u)
      }),
    )
  })
})

describe('widthOf', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['', 0],
    ['abc', 3],
    ['λ→', 2],
    ['漢字', 4],
    ['🙂', 2],
    ['e\u0301', 1],
  ]
  for (const [text, width] of cases) it(`of '${text}' is ${width}`, () => assert.equal(widthOf([piece(text)]), width))
})

describe('a step without drafts', () => {
  const lone = (rest: Partial<StepTree> = {}): StepTree => treeOf([['a', -1]], [0], rest)

  it('is one line', () => {
    assert.equal(drawPlainSteps([lone()], plain), 'step 3  +1 token · 0 of 24 nodes · 8.4 ms')
    assert.equal(drawPlainSteps([lone({ proposed: 0 })], plain), 'step 3  +1 token · no drafts · 8.4 ms')
  })

  it('shares it with its like', () => {
    const steps = [lone({ stepMs: 5 }), lone({ stepMs: 7 })]
    assert.equal(drawPlainSteps(steps, plain), 'step 3  +2 tokens · 0 of 48 nodes · 6.0 ms each')
  })
})

describe('createTreeView', () => {
  const lone = treeOf([['a', -1]])
  const drafted = treeOf(
    [
      ['a', -1],
      ['b', 0, 0.5, 'suffix'],
    ],
    [0, 1],
  )
  const draw = (numChoices: number, steps: readonly (readonly [choice: number, tree?: StepTree])[]): string[] => {
    const printed: string[] = []
    const view = createTreeView({ color: false, width: 120, numChoices, print: (text) => printed.push(text) })
    for (const [choice, tree] of steps)
      view.show({ type: 'chunk', choice, tokenIds: [1], text: 'a', ...(tree === undefined ? {} : { tree }) })
    view.end()
    return printed
  }
  const titles = (printed: readonly string[]): string[] => printed.map((text) => text.split('  ')[0] ?? '')

  it('numbers the steps, and folds those without drafts', () => {
    const printed = draw(1, [[0], [0, lone], [0, drafted], [0, lone], [0, lone], [0, lone]])
    assert.deepEqual(titles(printed).slice(0, 3), ['step 1', 'step 2', 'steps 3–5'])
    assert.equal(printed.at(-1), `\n${drawLegend(['suffix'], { color: false, width: 120 })}`)
  })

  it('names the choice where there are several', () => {
    const printed = draw(2, [
      [0, lone],
      [1, drafted],
      [0, lone],
    ])
    assert.deepEqual(titles(printed).slice(0, 2), ['choice 1, step 1', 'choice 0, steps 1–2'])
  })

  it('says nothing where no tree came', () => assert.deepEqual(draw(1, [[0], [0]]), []))
})
