// Scores → weights exp(score - maximum), zero where a row does not see: `soften` and `exp` in `kernels/`.

import { at } from './addressing.js'
import { REGISTER, type Assembler, type Label } from './assembler.js'
import { ATTENTION, FRAME, type AttentionCode } from './attention-frame.js'
import { countDown, ofFrame, ofTask, ROLE } from './code-frame.js'

const NUMBERS = {
  lowest: -Infinity,
  least: -87,
  most: 88,
  log2OfE: 1.4426950408889634,
  ln2: 0.693359375,
  ln2Rest: -2.1219444e-4,
  c5: 1.98756915e-4,
  c4: 1.3981999507e-3,
  c3: 8.3334519073e-3,
  c2: 4.1665795894e-2,
  c1: 1.6666665459e-1,
  c0: 5.0000001201e-1,
  one: 1,
  minusLeast: 87,
  bias: 127 * 2 ** -149, // the integer 127
} as const
type Constant = keyof typeof NUMBERS

/** One vector each. */
export const WEIGHT_CONSTANTS: readonly number[] = Object.values(NUMBERS)
const NAMES = Object.keys(NUMBERS)

const VIEW_BYTES = 16 // first slot, prefix, first entry of the list, number of entries
const LOWEST_BITS = 0xff800000n
const { ax: row, cx, dx, si, di } = REGISTER
const [view, rowsLeft, headsLeft, rowBytes, lowest, constants, slotBytes, sink] = [8, 9, 10, 11, 12, 13, 14, 15]
const [best, x, n, y, term, isSmall] = [0, 1, 2, 3, 4, 5] // vector registers

/** All queries' scores, one after the other. */
export function writeWeights(code: AttentionCode, constantsLabel: Label): void {
  const { a } = code
  a.move(row, ofFrame(FRAME.scores))
  a.load32(view, ofTask(ATTENTION.views))
  a.add(view, ROLE.memory)
  a.load32(rowsLeft, ofTask(ATTENTION.rows))
  a.load32(rowBytes, ofFrame(FRAME.rowBytes))
  a.load32(slotBytes, ofFrame(FRAME.slotBytes))
  a.moveImmediate(lowest, LOWEST_BITS)
  a.loadAddress(constants, constantsLabel)
  countDown(a, rowsLeft, 1, () => {
    a.load32(headsLeft, ofTask(ATTENTION.group))
    a.load32(sink, ofTask(ATTENTION.sinks))
    countDown(a, headsLeft, 1, () => {
      hide(a)
      putSink(code)
      findBest(code)
      exponentiate(code)
      a.add(row, rowBytes)
    })
    a.addImmediate(view, VIEW_BYTES)
  })
}

/** Sets what a row does not see to -Infinity: before its first slot, between the entries of its list, behind them. */
function hide(a: Assembler): void {
  const [again, behind] = [a.label(), a.label()]
  a.moveImmediate(cx, 0n)
  a.load32(si, at(view))
  a.shiftLeft(si, 2)
  fillUpTo(a, si)
  a.load32(cx, at(view, 4))
  a.shiftLeft(cx, 2)
  a.load32(dx, at(view, 8))
  a.shiftLeft(dx, 2)
  a.add32(dx, ofTask(ATTENTION.list))
  a.add(dx, ROLE.memory)
  a.load32(di, at(view, 12))
  a.bind(again)
  a.compareImmediate32(di, 0)
  a.jumpIf('equal', behind)
  a.load32(si, at(dx))
  a.shiftLeft(si, 2)
  fillUpTo(a, si)
  a.loadAddress(cx, at(si, 4))
  a.addImmediate(dx, 4)
  a.addImmediate(di, -1)
  a.jump(again)
  a.bind(behind)
  fillUpTo(a, slotBytes)
}

/** A head's sink behind its scores, in a tile of its own; the next head's sink is the next number. */
function putSink(code: AttentionCode): void {
  const { a, unit, parts } = code
  const none = a.label()
  a.compareImmediate32(sink, 0)
  a.jumpIf('equal', none)
  a.loadAddress(si, at(row, 0, slotBytes))
  a.vector('vmovups', unit.vectorBytes, { to: x, from: constant(code, 'lowest') })
  for (let part = 0; part < parts; part++) {
    a.vector('vmovupsStore', unit.vectorBytes, { to: x, from: at(si, part * unit.vectorBytes) })
  }
  a.load32(cx, at(ROLE.memory, 0, sink))
  a.store32(at(si), cx)
  a.addImmediate(sink, 4)
  a.bind(none)
}

function fillUpTo(a: Assembler, end: number): void {
  const [again, done] = [a.label(), a.label()]
  a.bind(again)
  a.compare32(cx, end)
  a.jumpIf('greaterOrEqual', done)
  a.store32(at(row, 0, cx), lowest)
  a.addImmediate(cx, 4)
  a.jump(again)
  a.bind(done)
}

/** The largest score in all lanes of `best`. */
function findBest(code: AttentionCode): void {
  const {
    a,
    unit: { vectorBytes },
  } = code
  a.vector('vmovups', vectorBytes, { to: best, from: constant(code, 'lowest') })
  a.move(si, row)
  a.move(cx, rowBytes)
  countDown(a, cx, vectorBytes, () => {
    a.vector('vmaxps', vectorBytes, { to: best, left: best, from: at(si) })
    a.addImmediate(si, vectorBytes)
  })
  a.vector('vmovupsStore', vectorBytes, { to: best, from: ofFrame(FRAME.lanes) })
  for (let lane = 0; lane < vectorBytes; lane += 4) {
    a.vector('vpbroadcastd', vectorBytes, { to: x, from: ofFrame(FRAME.lanes + lane) })
    a.vector('vmaxps', vectorBytes, { to: best, left: best, from: x })
  }
}

const constant = ({ unit: { vectorBytes } }: AttentionCode, name: Constant) =>
  at(constants, NAMES.indexOf(name) * vectorBytes)

function exponentiate(code: AttentionCode): void {
  const {
    a,
    unit: { vectorBytes },
  } = code
  const compute = (
    name: 'vaddps' | 'vsubps' | 'vmulps' | 'vminps' | 'vmaxps' | 'vpaddd' | 'vpandn',
    to: number,
    left: number,
    from: number | Constant,
  ): void => a.vector(name, vectorBytes, { to, left, from: typeof from === 'number' ? from : constant(code, from) })
  a.move(si, row)
  a.move(cx, rowBytes)
  countDown(a, cx, vectorBytes, () => {
    a.vector('vmovups', vectorBytes, { to: x, from: at(si) })
    compute('vsubps', x, x, best)
    compute('vaddps', isSmall, x, 'minusLeast')
    a.vector('vpsrad', vectorBytes, { to: isSmall, from: isSmall, immediate: 31 })
    compute('vminps', x, x, 'most')
    compute('vmaxps', x, x, 'least')
    compute('vmulps', n, x, 'log2OfE')
    a.vector('vroundps', vectorBytes, { to: n, from: n, immediate: 8 }) // to the nearest, even at a tie
    compute('vmulps', term, n, 'ln2')
    compute('vsubps', x, x, term)
    compute('vmulps', term, n, 'ln2Rest')
    compute('vsubps', x, x, term)
    a.vector('vmovups', vectorBytes, { to: y, from: constant(code, 'c5') })
    for (const name of ['c4', 'c3', 'c2', 'c1', 'c0'] as const) {
      compute('vmulps', y, y, x)
      compute('vaddps', y, y, name)
    }
    compute('vmulps', term, x, x)
    compute('vmulps', y, y, term)
    compute('vaddps', y, y, x)
    compute('vaddps', y, y, 'one')
    a.vector('vcvtps2dq', vectorBytes, { to: n, from: n })
    compute('vpaddd', n, n, 'bias')
    a.vector('vpslld', vectorBytes, { to: n, from: n, immediate: 23 })
    compute('vmulps', y, y, n)
    compute('vpandn', y, isSmall, y)
    a.vector('vmovupsStore', vectorBytes, { to: y, from: at(si) })
    a.addImmediate(si, vectorBytes)
  })
}
