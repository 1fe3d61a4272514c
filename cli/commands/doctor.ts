// `banyan doctor`: what this machine is to Banyan, and what to do about what is missing.

import { execFile } from 'node:child_process'
import { availableParallelism, cpus } from 'node:os'
import { promisify } from 'node:util'
import { sharedKernels } from '../../lib/compute/kernels.js'
import { WEIGHT_FORMATS } from '../../lib/model/weight-formats.js'
import { processorFeatures } from '../../lib/compute/machine-code/processor.js'
import { vectorUnit } from '../../lib/compute/machine-code/wide-kernels.js'
import { probeDevice, type DeviceReport } from '../../lib/compute/device-class.js'
import { VERSION } from '../../lib/config/version.js'
import { ClusterError } from '../../lib/errors.js'
import { connectNats } from '../../lib/transport/nats.js'
import { withoutLogin } from '../../lib/transport/nats-access.js'
import type { Flags } from '../cluster-flags.js'
import { describeOrigin, findServer, INSTALL_HINT } from '../cluster/choose-transport.js'
import { describeDevices, findGpus, type GpusFound, type Problem } from './doctor-devices.js'
import { notify, print, printJson, table } from '../terminal.js'

const NATS_TIMEOUT_MS = 2_000
const FEATURES = [
  'sse4_2',
  'avx',
  'avx2',
  'fma',
  'f16c',
  'avx_vnni',
  'avx512f',
  'avx512bw',
  'avx512vl',
  'avx512_vnni',
  'avx512_bf16',
]
const FEATURES_MORE = ['amx_tile', 'amx_int8', 'asimd', 'asimddp', 'i8mm', 'sve', 'bf16']

interface NatsFound {
  readonly where: string // '' when there is none
  readonly version: string
  readonly problem?: string
}

interface Diagnosis {
  readonly banyan: string
  readonly node: string
  readonly platform: string
  readonly processor: { readonly model: string; readonly cores: number; readonly features: readonly string[] }
  readonly engine: string
  readonly vectors: string
  readonly deviceClass: string
  readonly kernels: DeviceReport['kernels']
  readonly nats: { readonly where: string; readonly version: string }
  readonly gpus: GpusFound['gpus']
  readonly adapters: GpusFound['adapters']
  readonly devices: GpusFound['devices'] // beside the CPU
  readonly problems: readonly Problem[]
}

export async function doctor(flags: Flags): Promise<number> {
  const diagnosis = await diagnose()
  if (flags.json === true) printJson(diagnosis)
  else print(describe(diagnosis))
  return 0
}

async function diagnose(): Promise<Diagnosis> {
  const device = probeDevice(sharedKernels(availableParallelism()), { formats: WEIGHT_FORMATS })
  const nats = await findNats()
  const { problems: gpuProblems, ...gpus } = findGpus()
  return {
    banyan: VERSION,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    processor: { model: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), features: knownFeatures() },
    engine: device.engine,
    vectors: describeVectors(),
    deviceClass: device.deviceClass,
    kernels: device.kernels,
    nats: { where: nats.where, version: nats.version },
    ...gpus,
    problems: [...kernelProblems(device), ...natsProblems(nats), ...gpuProblems],
  }
}

function knownFeatures(): readonly string[] {
  const features = processorFeatures()
  return [...FEATURES, ...FEATURES_MORE].filter((feature) => features.has(feature))
}

/** What the kernels are computed with. */
function describeVectors(): string {
  const unit = vectorUnit()
  if (unit === undefined) return 'WebAssembly, 16-byte vectors'
  return `machine code, ${unit.vectorBytes}-byte vectors${unit.hasDotProduct ? ' with dot products' : ''}`
}

async function findNats(): Promise<NatsFound> {
  const { NATS_URL: url, NATS_CREDS: credsFile } = process.env
  if (url !== undefined && url !== '') return tryServer(url, credsFile)
  try {
    const found = await findServer({ env: process.env, notify }, false)
    if (found === undefined)
      return { where: '', version: '', problem: 'no nats-server found; clusters use the local transport' }
    const { stdout } = await promisify(execFile)(found.binary, ['--version'])
    return {
      where: `${describeOrigin(found.origin)} ${found.binary}`,
      version: stdout.trim().replace(/^nats-server:\s*/, ''),
    }
  } catch (error) {
    return { where: '', version: '', problem: ClusterError.from(error).message }
  }
}

async function tryServer(url: string, credsFile: string | undefined): Promise<NatsFound> {
  const where = `${withoutLogin(url)} (NATS_URL)`
  try {
    const { BANYAN_NATS_TLS_CA: ca, BANYAN_NATS_TLS_CERT: cert, BANYAN_NATS_TLS_KEY: key } = process.env
    const tls = { ca: ca || undefined, cert: cert || undefined, key: key || undefined }
    const name = 'banyan-doctor'
    const transport = await connectNats({ url, name, credsFile, tls, connectTimeoutMs: NATS_TIMEOUT_MS })
    await transport.close()
    return { where, version: '' }
  } catch (error) {
    return { where, version: '', problem: ClusterError.from(error).message }
  }
}

const kernelProblems = ({ kernels }: DeviceReport): Diagnosis['problems'] =>
  kernels
    .filter(({ exactness }) => exactness === 'inexact')
    .map(({ kernel }) => ({
      problem: `${kernel} is not exact on this processor`,
      advice: 'choose another --weights; f32 and int8 are exact on most',
    }))

const natsProblems = ({ problem }: NatsFound): Diagnosis['problems'] =>
  problem === undefined ? [] : [{ problem, advice: INSTALL_HINT }]

export function describe(diagnosis: Diagnosis): string {
  const { processor, nats, gpus, adapters, devices, kernels, problems } = diagnosis
  const facts = [
    ['banyan', diagnosis.banyan],
    ['node', `${diagnosis.node} on ${diagnosis.platform}`],
    ['processor', `${processor.model}, ${processor.cores} threads`],
    ['features', processor.features.join(' ') || 'not known'],
    ['engine', diagnosis.engine],
    ['computes with', diagnosis.vectors],
    ['device class', diagnosis.deviceClass],
    ['nats', nats.where === '' ? 'none' : `${nats.where} ${nats.version}`.trim()],
    ['gpu', [...gpus, ...adapters.map(({ name, kind }) => `${name} (${kind})`)].join(', ') || 'none'],
  ]
  const advice = problems.map(({ problem, advice: what }) => `- ${problem}\n  ${what}`)
  return [
    table(facts),
    '',
    'kernels',
    table(kernels.map(({ kernel, exactness }) => [`  ${kernel}`, exactness])),
    ...(devices.length === 0 ? [] : ['', 'devices', table(describeDevices(devices))]),
    '',
    ...(problems.length === 0 ? ['no problems'] : ['problems', ...advice]),
  ].join('\n')
}
