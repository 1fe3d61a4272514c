// Which of llama.cpp's architectures computes what a checkpoint's spec says. An architecture fixes things that a spec
// leaves open (how the gate's weights are used, which biases are added); a spec that wants otherwise is refused, because
// the file would load and then answer something else.

import { ClusterError } from '../../errors.js'
import { grouped } from '../attention-parts.js'
import type { FfnSpec, GroupedAttentionSpec, LayerSpec, ModelSpec } from '../spec.js'

export interface GgufArchitecture {
  readonly name: string // `general.architecture`
  /** It rotates neighbours (0, 1), (2, 3), …; published weights rotate halves, so rows of q and k change places. */
  readonly rotatesNeighbours: boolean
  /** It reads the LM head from a tensor of its own, also where that is the embedding. */
  readonly wantsOutput: boolean
}

interface Rules extends GgufArchitecture {
  readonly ffn: 'dense' | 'routed experts' | 'routed and shared experts'
  readonly gateWeights?: 'divided by their sum' | 'as they are'
  readonly biases: readonly Bias[] // that it adds
  readonly scalesRotation?: boolean // Llama 3's stretched frequencies
  readonly isSquare?: boolean // heads × head width is the model's width
}

type Bias = 'q, k, v' | 'attention output' | 'FFN'

const PLAIN = { rotatesNeighbours: false, wantsOutput: false, biases: [] }

const FAMILIES: Readonly<Record<string, Rules>> = {
  llama: {
    name: 'llama',
    rotatesNeighbours: true,
    wantsOutput: false,
    ffn: 'dense',
    biases: ['q, k, v', 'attention output', 'FFN'],
    scalesRotation: true,
  },
  mixtral: {
    ...PLAIN,
    name: 'llama',
    rotatesNeighbours: true,
    ffn: 'routed experts',
    gateWeights: 'divided by their sum',
    scalesRotation: true,
  },
  qwen3: { ...PLAIN, name: 'qwen3', ffn: 'dense' },
  qwen3_moe: { ...PLAIN, name: 'qwen3moe', ffn: 'routed experts', gateWeights: 'divided by their sum' },
  qwen2_moe: {
    name: 'qwen2moe',
    rotatesNeighbours: false,
    wantsOutput: true,
    ffn: 'routed and shared experts',
    gateWeights: 'as they are',
    biases: ['q, k, v'],
    isSquare: true,
  },
  olmoe: {
    ...PLAIN,
    name: 'olmoe',
    wantsOutput: true,
    ffn: 'routed experts',
    gateWeights: 'as they are',
    isSquare: true,
  },
}

/** The architecture of a spec. Throws `unimplemented` naming the family and what llama.cpp does otherwise. */
export function architectureOf(spec: ModelSpec): GgufArchitecture {
  const rules = Object.hasOwn(FAMILIES, spec.family) ? FAMILIES[spec.family] : undefined
  if (rules === undefined) {
    const known = Object.keys(FAMILIES).join(', ')
    throw new ClusterError('unimplemented', `export gguf: want one of the families ${known}, found ${spec.family}`)
  }
  const [difference] = [...wholeDifferences(spec, rules), ...spec.layers.flatMap((layer) => differences(layer, rules))]
  if (difference !== undefined) {
    const asked = `want what llama.cpp's ${rules.name} computes`
    throw new ClusterError('unimplemented', `export gguf: family ${spec.family}: ${asked}, found ${difference}`)
  }
  return rules
}

function wholeDifferences({ lmHead, hidden, layers }: ModelSpec, rules: Rules): string[] {
  const found: string[] = []
  const attentions = layers.map(({ attention }) => grouped(attention, 'export gguf'))
  for (const { rope } of attentions)
    if (rope.scaling.type !== 'default' && rules.scalesRotation !== true) found.push(`rope type ${rope.scaling.type}`)
  if (lmHead.bias !== undefined) found.push('a bias on the LM head')
  const isSquare = attentions.every(({ numHeads, headDim }) => numHeads * headDim === hidden)
  if (rules.isSquare === true && !isSquare) found.push(`heads that do not add up to the width ${hidden}`)
  return found
}

/** Where a layer differs, the first of them names the checkpoint's own terms. */
function differences(layer: LayerSpec, rules: Rules): string[] {
  const attention = grouped(layer.attention, 'export gguf')
  const { ffn } = layer
  const found: string[] = []
  const kind = ffnKind(ffn)
  if (kind !== rules.ffn) found.push(`a layer with ${kind}`)
  if (ffn.gate !== undefined) {
    const isDivided = ffn.gate.scores === 'softmax-of-chosen' || ffn.gate.renormalise
    const gateWeights = isDivided ? 'divided by their sum' : 'as they are'
    if (gateWeights !== rules.gateWeights) found.push(`gate weights ${gateWeights}`)
  }
  if (attention.clip !== undefined) found.push(`q, k and v clipped at ${attention.clip}`)
  if (attention.qkNorm?.over === 'projection' && attention.numKvHeads !== attention.numHeads)
    found.push('a k norm of its own width')
  const biases = [
    ...attentionBiases(attention),
    ...ffnBiases([...ffn.experts, ...(ffn.always ? [ffn.always.ffn] : [])]),
  ]
  found.push(...biases.filter((bias) => !rules.biases.includes(bias)).map((bias) => `a bias on ${bias}`))
  return found
}

function ffnKind({ experts, always }: LayerSpec['ffn']): string {
  if (experts.length === 0) return 'dense'
  if (always === undefined) return 'routed experts'
  return always.sigmoidGate === undefined ? 'routed experts and a shared one without gate' : 'routed and shared experts'
}

function attentionBiases({ q, k, v, o }: GroupedAttentionSpec): Bias[] {
  const onInput = [q, k, v].some(({ bias }) => bias !== undefined)
  return [...(onInput ? (['q, k, v'] as const) : []), ...(o.bias === undefined ? [] : (['attention output'] as const))]
}

const ffnBiases = (ffns: readonly FfnSpec[]): Bias[] =>
  ffns.some(({ gate, up, down }) => [gate, up, down].some(({ bias }) => bias !== undefined)) ? ['FFN'] : []
