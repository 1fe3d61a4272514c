// The encodings against those of the GNU assembler (`as`, 2.40) for the same instructions.

import assert from 'node:assert/strict'
import { at } from '../../../lib/compute/machine-code/addressing.js'
import { createAssembler, REGISTER, type Assembler } from '../../../lib/compute/machine-code/assembler.js'

const { ax, cx, dx, bx, sp, bp, si, di } = REGISTER

const ENCODINGS: readonly (readonly [words: string, write: (a: Assembler) => void, bytes: string])[] = [
  ['vmovups zmm3, [rax+64]', (a) => a.vector('vmovups', 64, { to: 3, from: at(ax, 64) }), '62f17c48105801'],
  ['vmovups zmm19, [rax+100]', (a) => a.vector('vmovups', 64, { to: 19, from: at(ax, 100) }), '62e17c48109864000000'],
  ['vmovups zmm31, zmm8', (a) => a.vector('vmovups', 64, { to: 31, from: 8 }), '62417c4810f8'],
  ['vmovups [rax+192], zmm17', (a) => a.vector('vmovupsStore', 64, { to: 17, from: at(ax, 192) }), '62e17c48114803'],
  ['vmovups ymm3, [r13+32]', (a) => a.vector('vmovups', 32, { to: 3, from: at(13, 32) }), 'c4c17c105d20'],
  [
    'vmovups ymm9, [rax+rsi*1+1024]',
    (a) => a.vector('vmovups', 32, { to: 9, from: at(ax, 1024, si) }),
    'c4617c108c3000040000',
  ],
  ['vmovups [rbx], ymm12', (a) => a.vector('vmovupsStore', 32, { to: 12, from: at(bx) }), 'c4617c1123'],
  ['vaddps zmm1, zmm2, zmm30', (a) => a.vector('vaddps', 64, { to: 1, left: 2, from: 30 }), '62916c4858ce'],
  ['vmulps zmm17, zmm18, zmm19', (a) => a.vector('vmulps', 64, { to: 17, left: 18, from: 19 }), '62a16c4059cb'],
  ['vmulps ymm7, ymm8, ymm9', (a) => a.vector('vmulps', 32, { to: 7, left: 8, from: 9 }), 'c4c13c59f9'],
  ['vsubps zmm1, zmm1, zmm0', (a) => a.vector('vsubps', 64, { to: 1, left: 1, from: 0 }), '62f174485cc8'],
  ['vminps ymm1, ymm1, [r13+64]', (a) => a.vector('vminps', 32, { to: 1, left: 1, from: at(13, 64) }), 'c4c1745d4d40'],
  [
    'vmaxps zmm1, zmm1, [r13+128]',
    (a) => a.vector('vmaxps', 64, { to: 1, left: 1, from: at(13, 128) }),
    '62d174485f4d02',
  ],
  ['vdivps zmm0, zmm0, zmm1', (a) => a.vector('vdivps', 64, { to: 0, left: 0, from: 1 }), '62f17c485ec1'],
  ['vcvtdq2ps zmm20, zmm21', (a) => a.vector('vcvtdq2ps', 64, { to: 20, from: 21 }), '62a17c485be5'],
  ['vcvtps2dq ymm4, ymm5', (a) => a.vector('vcvtps2dq', 32, { to: 4, from: 5 }), 'c4e17d5be5'],
  ['vpaddd zmm9, zmm10, zmm11', (a) => a.vector('vpaddd', 64, { to: 9, left: 10, from: 11 }), '62512d48fecb'],
  ['vpmaddwd zmm9, zmm10, zmm11', (a) => a.vector('vpmaddwd', 64, { to: 9, left: 10, from: 11 }), '62512d48f5cb'],
  ['vpmaddwd ymm9, ymm10, ymm11', (a) => a.vector('vpmaddwd', 32, { to: 9, left: 10, from: 11 }), 'c4412df5cb'],
  ['vpandd zmm16, zmm1, zmm2', (a) => a.vector('vpand', 64, { to: 16, left: 1, from: 2 }), '62e17548dbc2'],
  ['vpandn ymm3, ymm5, ymm3', (a) => a.vector('vpandn', 32, { to: 3, left: 5, from: 3 }), 'c4e155dfdb'],
  ['vpxord zmm29, zmm29, zmm29', (a) => a.vector('vpxor', 64, { to: 29, left: 29, from: 29 }), '62011540efed'],
  ['vpslld zmm5, zmm5, 16', (a) => a.vector('vpslld', 64, { to: 5, from: 5, immediate: 16 }), '62f1554872f510'],
  ['vpslld ymm14, ymm14, 23', (a) => a.vector('vpslld', 32, { to: 14, from: 14, immediate: 23 }), 'c4c10d72f617'],
  ['vpsrad zmm5, zmm5, 31', (a) => a.vector('vpsrad', 64, { to: 5, from: 5, immediate: 31 }), '62f1554872e51f'],
  ['vpsrlvd zmm5, zmm6, zmm7', (a) => a.vector('vpsrlvd', 64, { to: 5, left: 6, from: 7 }), '62f24d4845ef'],
  ['vpsrlvd ymm5, ymm6, ymm7', (a) => a.vector('vpsrlvd', 32, { to: 5, left: 6, from: 7 }), 'c4e24d45ef'],
  ['vpdpwssd zmm24, zmm25, zmm26', (a) => a.vector('vpdpwssd', 64, { to: 24, left: 25, from: 26 }), '6202354052c2'],
  [
    'vpbroadcastd zmm6, [r15+rsi*1+60]',
    (a) => a.vector('vpbroadcastd', 64, { to: 6, from: at(15, 60, si) }),
    '62d27d485874370f',
  ],
  ['vpbroadcastd ymm6, [r8+rsi*1]', (a) => a.vector('vpbroadcastd', 32, { to: 6, from: at(8, 0, si) }), 'c4c27d583430'],
  [
    'vpbroadcastd zmm6, [r12+rcx*1]',
    (a) => a.vector('vpbroadcastd', 64, { to: 6, from: at(12, 0, cx) }),
    '62d27d4858340c',
  ],
  [
    'vbroadcasti32x4 zmm4, [rax+48]',
    (a) => a.vector('vbroadcasti128', 64, { to: 4, from: at(ax, 48) }),
    '62f27d485a6003',
  ],
  ['vbroadcasti128 ymm4, [rax+48]', (a) => a.vector('vbroadcasti128', 32, { to: 4, from: at(ax, 48) }), 'c4e27d5a6030'],
  ['vpmovsxbw zmm2, [rax+544]', (a) => a.vector('vpmovsxbw', 64, { to: 2, from: at(ax, 544) }), '62f27d48205011'],
  ['vpmovsxbw ymm2, [rax+16]', (a) => a.vector('vpmovsxbw', 32, { to: 2, from: at(ax, 16) }), 'c4e27d205010'],
  ['vpmovzxwd zmm2, [rax]', (a) => a.vector('vpmovzxwd', 64, { to: 2, from: at(ax) }), '62f27d483310'],
  ['vrndscaleps zmm2, zmm2, 8', (a) => a.vector('vroundps', 64, { to: 2, from: 2, immediate: 8 }), '62f37d4808d208'],
  ['vroundps ymm2, ymm2, 8', (a) => a.vector('vroundps', 32, { to: 2, from: 2, immediate: 8 }), 'c4e37d08d208'],
  [
    'vinserti32x8 zmm8, zmm8, [rdx], 1',
    (a) => a.vector('vinserti32x8', 64, { to: 8, left: 8, from: at(dx), immediate: 1 }),
    '62733d483a0201',
  ],
  ['mov rbx, rcx', (a) => a.move(bx, cx), '488bd9'],
  ['mov r15, [rdx+56]', (a) => a.move(15, at(dx, 56)), '4c8b7a38'],
  ['mov [rsp+16], rsi', (a) => a.store(at(sp, 16), si), '4889742410'],
  ['movabs rbx, 0x1122334455667788', (a) => a.moveImmediate(bx, 0x1122334455667788n), '48bb8877665544332211'],
  ['movabs r12, 0xff800000', (a) => a.moveImmediate(12, 0xff800000n), '49bc000080ff00000000'],
  ['mov eax, [rsp+4]', (a) => a.load32(ax, at(sp, 4)), '8b442404'],
  ['mov [rsp+4], eax', (a) => a.store32(at(sp, 4), ax), '89442404'],
  ['mov [rax+rcx*1], r12d', (a) => a.store32(at(ax, 0, cx), 12), '44892408'],
  ['mov r9d, [rax+8]', (a) => a.load32(9, at(ax, 8)), '448b4808'],
  ['lea rbp, [rbx+rdi*1]', (a) => a.loadAddress(bp, at(bx, 0, di)), '488d2c3b'],
  ['add r10, rbx', (a) => a.add(10, bx), '4c03d3'],
  ['add rdx, [rsp+16]', (a) => a.add(dx, at(sp, 16)), '4803542410'],
  ['add r9d, [rbp+16]', (a) => a.add32(9, at(bp, 16)), '44034d10'],
  ['sub eax, [rsp]', (a) => a.subtract32(ax, at(sp)), '2b0424'],
  ['imul r15d, [rbp+20]', (a) => a.multiply32(15, at(bp, 20)), '440faf7d14'],
  ['imul eax, eax, 544', (a) => a.multiplyImmediate32(ax, 544), '69c020020000'],
  ['shl rcx, 4', (a) => a.shiftLeft(cx, 4), '48c1e104'],
  ['shr rax, 7', (a) => a.shiftRight(ax, 7), '48c1e807'],
  ['cmp ecx, esi', (a) => a.compare32(cx, si), '3bce'],
  ['cmp eax, [rbp+12]', (a) => a.compare32(ax, at(bp, 12)), '3b450c'],
  ['prefetcht0 [rax+4128]', (a) => a.prefetch(at(ax, 4128)), '0f188820100000'],
  ['push r12', (a) => a.push(12), '4154'],
  ['pop rbx', (a) => a.pop(bx), '5b'],
  ['vzeroupper; ret', (a) => a.return(), 'c5f877c3'],
]

describe('assembler', () => {
  for (const [words, write, bytes] of ENCODINGS) {
    it(words, () => {
      const assembler = createAssembler()
      write(assembler)
      assert.equal(Buffer.from(assembler.code()).toString('hex'), bytes)
    })
  }

  it('jumps forwards and backwards, and finds its data', () => {
    const a = createAssembler()
    const [start, end, data] = [a.label(), a.label(), a.label()]
    a.bind(start)
    a.jumpIf('less', end) // 6 bytes
    a.jump(start) // 5
    a.bind(end)
    a.loadAddress(ax, data) // 7
    a.bind(data)
    a.data(Uint8Array.from([1, 2]))
    const wanted = '0f8c05000000' + 'e9f5ffffff' + '488d0500000000' + '0102'
    assert.equal(Buffer.from(a.code()).toString('hex'), wanted)
  })

  it('refuses what cannot be encoded (M1)', () => {
    const a = createAssembler()
    assert.throws(() => a.vector('vaddps', 32, { to: 16, left: 0, from: 0 }), /vaddps of 32 bytes: no such register/)
    assert.throws(() => a.move(ax, at(ax, 0, sp)), /stack pointer cannot be an index/)
    a.jump(a.label())
    assert.throws(() => a.code(), /want label 0 bound/)
  })
})
