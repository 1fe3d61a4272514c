import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import { openModel, type Checkpoint } from '../../../lib/model/checkpoint.js'
import { cannotOpen } from '../../../lib/model/open-file.js'
import { openSafetensors, writeSafetensors, type FloatTensor } from '../../../lib/model/safetensors.js'
import { demoModel, goldenModel } from '../../helpers/paths.js'

type Json = Record<string, unknown>

const INDEX = 'model.safetensors.index.json'
const FIRST = 'model-00001-of-00002.safetensors'
const SECOND = 'model-00002-of-00002.safetensors'
const GATE = 'model.layers.0.block_sparse_moe.gate.weight'
const NORM = 'model.norm.weight'

describe('bad checkpoints', () => {
  let folder: string
  let tensors: Readonly<Record<string, FloatTensor>>
  before(() => {
    const file = openSafetensors(join(goldenModel('mixtral'), 'model.safetensors'))
    const read = [...file.tensors].map(([name, { shape }]) => [name, { data: file.readFloat32(name), shape }] as const)
    tensors = Object.fromEntries(read)
    file.close()
  })
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-test-'))
    for (const name of ['config.json', 'generation_config.json']) cpSync(join(goldenModel('mixtral'), name), at(name))
  })
  afterEach(() => rmSync(folder, { recursive: true }))

  const at = (name: string): string => join(folder, name)
  const write = (name: string, value: unknown): void =>
    writeFileSync(at(name), typeof value === 'string' ? value : JSON.stringify(value))
  const readConfig = (): Json => JSON.parse(readFileSync(join(goldenModel('mixtral'), 'config.json'), 'utf8')) as Json // an object
  const isFirst = (name: string): boolean => !name.startsWith('model.layers.1')
  const some = (isIn: (name: string) => boolean): Record<string, FloatTensor> =>
    Object.fromEntries(Object.entries(tensors).filter(([name]) => isIn(name)))

  /** Two shards with an index; what is changed is written over it. */
  function writeShards({
    first = some(isFirst),
    map = {},
  }: { first?: Record<string, FloatTensor>; map?: Json } = {}): void {
    writeSafetensors(at(FIRST), first)
    writeSafetensors(
      at(SECOND),
      some((name) => !isFirst(name)),
    )
    const all = Object.keys(tensors).map((name) => [name, isFirst(name) ? FIRST : SECOND] as const)
    write(INDEX, { weight_map: { ...Object.fromEntries(all), ...map } })
  }

  const openFiles = (): string[] => readdirSync('/proc/self/fd')

  /** One error that says all of this, and no file left open. */
  async function refuses(
    code: ErrorCode,
    parts: readonly string[],
    use?: (checkpoint: Checkpoint) => void,
  ): Promise<void> {
    const before = openFiles()
    await assert.rejects(
      async () => {
        const checkpoint = await openModel(folder)
        try {
          use?.(checkpoint)
        } finally {
          checkpoint.close()
        }
      },
      (error) => {
        assert.ok(error instanceof ClusterError && error.code === code, String(error))
        assert.ok(!error.message.includes('\n'), error.message)
        for (const part of parts) assert.ok(error.message.includes(part), `want ${part} in: ${error.message}`)
        return true
      },
    )
    assert.deepEqual(openFiles(), before)
  }

  it('none: two shards load as one file does', async () => {
    writeShards()
    const checkpoint = await openModel(folder)
    assert.deepEqual([checkpoint.missing, checkpoint.unexpected], [[], []])
    checkpoint.close()
  })

  it('an index that names a missing file', async () => {
    writeShards({ map: { [NORM]: 'model-00003-of-00003.safetensors' } })
    await refuses('not_found', [at(INDEX), NORM, 'model-00003-of-00003.safetensors: no such file'])
  })

  it('an index that names a tensor which its file lacks', async () => {
    writeShards({ map: { [NORM]: SECOND } })
    await refuses('invalid_argument', [at(INDEX), `tensor ${NORM}`, `${at(SECOND)}, which lacks it`])
  })

  for (const name of ['../model.safetensors', '/etc/passwd', '..', '', 7]) {
    it(`an index that names ${JSON.stringify(name)} as a file`, async () => {
      writeShards({ map: { [NORM]: name } })
      await refuses('invalid_argument', [at(INDEX), 'want plain file names', JSON.stringify(name), NORM])
    })
  }

  it('an index that is no JSON, that maps nothing, or that has no map', async () => {
    writeShards()
    write(INDEX, '{"weight_map":\n\n {,')
    await refuses('invalid_argument', [`${at(INDEX)}: not JSON`])
    write(INDEX, { weight_map: {} })
    await refuses('invalid_argument', [at(INDEX), 'weight_map: want at least one tensor'])
    write(INDEX, { weight_map: [] })
    await refuses('invalid_argument', [at(INDEX), 'want an object weight_map'])
  })

  it('no weights at all', () =>
    refuses('not_found', [`${at('model.safetensors')}: want a file, got nothing: no such file`]))

  const FILES = [
    'config.json',
    'model.safetensors',
    'generation_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
  ]
  for (const name of [...FILES, 'chat_template.jinja', INDEX, SECOND]) {
    const writeOthers = (): void => {
      if ([INDEX, SECOND].includes(name)) writeShards()
      else writeSafetensors(at('model.safetensors'), tensors)
      if (name === 'tokenizer_config.json') cpSync(join(demoModel, 'tokenizer.json'), at('tokenizer.json'))
      rmSync(at(name), { force: true })
    }

    it(`a folder where ${name} should be, and an empty file`, async () => {
      writeOthers()
      mkdirSync(at(name))
      await refuses('invalid_argument', [`${at(name)}: want a file, got a folder`])
      rmSync(at(name), { recursive: true })
      writeFileSync(at(name), '')
      await refuses('invalid_argument', [`${at(name)}: want a file with something in it, got an empty one`])
    })
  }

  it('a file that this process may not read, and one that links to itself', async () => {
    symlinkSync('model.safetensors', at('model.safetensors'))
    await refuses('invalid_argument', [
      `${at('model.safetensors')}: want a file, got one that cannot be opened (ELOOP)`,
    ])
    const refusal = cannotOpen('a', 'a file', Object.assign(new Error('EACCES: no'), { code: 'EACCES' }))
    const wanted = ': want a file, got one that this process may not read'
    assert.deepEqual([refusal.code, refusal.message], ['permission_denied', `a${wanted}`])
    if (process.getuid?.() === 0) return // root reads everything
    rmSync(at('model.safetensors'))
    writeSafetensors(at('model.safetensors'), tensors)
    chmodSync(at('model.safetensors'), 0)
    await refuses('permission_denied', [at('model.safetensors') + wanted])
  })

  it('a path that is no model: a file, and nothing', async () => {
    const wanted = 'want a folder, a config.json or a GGUF file, got '
    const path = at('generation_config.json')
    await assert.rejects(openModel(path), { code: 'invalid_argument', message: `${path}: ${wanted}a file` })
    await assert.rejects(openModel('/nowhere'), {
      code: 'not_found',
      message: `/nowhere: ${wanted}nothing: no such file`,
    })
    mkdirSync(at('a.gguf'))
    await assert.rejects(openModel(at('a.gguf')), { message: `${at('a.gguf')}: want a file, got a folder` })
  })

  it('a pipe that nobody writes to', async () => {
    execFileSync('mkfifo', [at('model.safetensors')])
    await refuses('invalid_argument', [`${at('model.safetensors')}: want a file, got neither a file nor a folder`])
  })

  it('a tensor of integers where the model wants numbers with a fraction', async () => {
    writeSafetensors(at('model.safetensors'), tensors)
    const bytes = readFileSync(at('model.safetensors'))
    const place = bytes.indexOf(`"${NORM}":{"dtype":"F32"`) + `"${NORM}":{"dtype":"`.length
    bytes.write('I32', place)
    writeFileSync(at('model.safetensors'), bytes)
    await refuses('unimplemented', [`${at('model.safetensors')}: tensor ${NORM}: dtype I32, want F32`])
  })

  it('values that are long or deep are not shown whole', async () => {
    writeSafetensors(at('model.safetensors'), tensors)
    const long = 'x'.repeat(1_000_000)
    write('config.json', { ...readConfig(), hidden_size: long })
    await refuses('invalid_argument', ['hidden_size: want an integer', 'xxx…'])
    write(
      'config.json',
      `{"architectures": ["MixtralForCausalLM"], "hidden_size": ${'['.repeat(1e5)}${']'.repeat(1e5)}}`,
    )
    await refuses('invalid_argument', [at('config.json'), 'hidden_size: want an integer of at least 1, got'])
  })

  it('sampling defaults and ends of text that are none', async () => {
    writeSafetensors(at('model.safetensors'), tensors)
    const bad = [
      ['generation_config.json', 'temperature', -1],
      ['generation_config.json', 'top_p', 0],
      ['generation_config.json', 'top_k', 1.5],
      ['generation_config.json', 'min_p', 'x'],
      ['generation_config.json', 'eos_token_id', ['a']],
      ['config.json', 'eos_token_id', '</s>'],
      ['config.json', 'bos_token_id', {}],
    ] as const
    for (const [name, key, value] of bad) {
      cpSync(join(goldenModel('mixtral'), 'config.json'), at('config.json'))
      write(name, { ...(name === 'config.json' && readConfig()), [key]: value })
      await refuses('invalid_argument', [`${at(name)}: ${key}: want `, `got ${JSON.stringify(value)}`])
    }
  })

  it('a shard cut short', async () => {
    writeShards()
    truncateSync(at(SECOND), readFileSync(at(SECOND)).length - 100)
    await refuses('invalid_argument', [at(SECOND), 'tensor model.layers.1', 'bytes'])
    truncateSync(at(SECOND), 5)
    await refuses('invalid_argument', [`${at(SECOND)}: want at least 8 bytes, got 5`])
  })

  it('a tensor in two shards', async () => {
    const name = 'model.layers.1.input_layernorm.weight'
    writeShards({ first: { ...some(isFirst), [name]: tensors[name]! } })
    await refuses('invalid_argument', [`${at(SECOND)}: tensor ${name}: want it once, got it in ${at(FIRST)} too`])
  })

  it('a tensor twice in a header', async () => {
    const one = (begin: number): string => `{"dtype":"F32","shape":[1],"data_offsets":[${begin},${begin + 4}]}`
    const header = Buffer.from(`{"${NORM}":${one(0)},"${NORM}":${one(4)}}`)
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(header.length))
    writeFileSync(at('model.safetensors'), Buffer.concat([length, header, Buffer.alloc(8)]))
    await refuses('invalid_argument', [`${at('model.safetensors')}: tensor ${NORM}: want it once in the header`])
  })

  it('a missing tensor, one of another shape, one without values', async () => {
    writeSafetensors(
      at('model.safetensors'),
      some((name) => name !== NORM),
    )
    await refuses('invalid_argument', [folder, `missing tensor ${NORM}`])
    writeSafetensors(at('model.safetensors'), { ...tensors, [GATE]: { data: new Float32Array(3), shape: [3, 1] } })
    await refuses('invalid_argument', [`${at('model.safetensors')}: tensor ${GATE}: want shape [8, `, 'got [3, 1]'])
    writeSafetensors(at('model.safetensors'), { ...tensors, [GATE]: { data: new Float32Array(0), shape: [8, 0] } })
    await refuses('invalid_argument', [`tensor ${GATE}: want shape [8, `, 'got [8, 0]'])
  })

  it('a configuration that says another size than the tensors have', async () => {
    writeSafetensors(at('model.safetensors'), tensors)
    write('config.json', { ...readConfig(), num_local_experts: 7 })
    await refuses('invalid_argument', [`tensor ${GATE}: want shape [7, `, `by ${at('config.json')}, got [8, `])
    write('config.json', { ...readConfig(), hidden_size: undefined, num_local_experts: undefined })
    await refuses('invalid_argument', [
      'want shape [320, 4096]',
      `by ${at('config.json')} (left out there: hidden_size, so 4096; num_local_experts, so 8), got [320, 64]`,
    ])
    write('config.json', { ...readConfig(), num_hidden_layers: undefined })
    await refuses('invalid_argument', [
      'missing tensor model.layers.3.',
      `which ${at('config.json')} asks for (left out there: num_hidden_layers, so 32)`,
    ])
    write('config.json', '[1]')
    await refuses('invalid_argument', [at('config.json'), 'want a JSON object'])
    write('config.json', { ...readConfig(), quantization_config: { quant_method: 'gptq', bits: 4 } })
    await refuses('unimplemented', [at('config.json'), 'quant_method', '"gptq"'])
  })

  it('NaNs and infinities, where they are read', async () => {
    const { data, shape } = tensors[GATE]!
    const bad = data.slice()
    bad.set([NaN, Infinity], 2 * shape[1]! + 3)
    writeSafetensors(at('model.safetensors'), { ...tensors, [GATE]: { data: bad, shape } })
    await refuses(
      'invalid_argument',
      [`${at('model.safetensors')}: tensor ${GATE}: want finite values, got 2 of ${bad.length}`, 'NaN at [2, 3]'],
      (checkpoint) => {
        const { spec } = checkpoint
        checkpoint.tensor(spec.layers[0]!.ffn.experts[0]!.up.weight)
        checkpoint.tensor(spec.layers[0]!.ffn.gate!.weight)
      },
    )
  })
})
