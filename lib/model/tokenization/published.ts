// What a published tokenizer.json may say, part by part. What is not listed here is refused by name: it would be split
// or joined otherwise than its publisher does.

import * as z from 'zod'
import { ClusterError } from '../../errors.js'

const patternSchema = z.union([
  z.object({ String: z.string() }).transform(({ String: text }) => ({ text, regex: undefined })),
  z.object({ Regex: z.string() }).transform(({ Regex: regex }) => ({ text: undefined, regex })),
])

export type Pattern = z.infer<typeof patternSchema>

const BEHAVIOURS = ['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'] as const
const behaviour = z.enum(BEHAVIOURS)
export type Behaviour = z.infer<typeof behaviour>

const prependScheme = z.enum(['always', 'first', 'never'])

/** Sequences are taken apart: a list of steps, none of which is a sequence. */
function steps<T extends z.ZodType>(step: T, key: string): z.ZodType<z.infer<T>[]> {
  const nested: z.ZodType<z.infer<T>[]> = z.lazy(() =>
    z.unknown().transform((value, context): z.infer<T>[] => {
      if (value === null || value === undefined) return []
      if (isSequence(value)) {
        const parsed = z.array(nested).safeParse(value[key])
        if (parsed.success) return parsed.data.flat()
        context.addIssue({ code: 'custom', message: parsed.error.issues[0]?.message ?? '' })
        return z.NEVER
      }
      const parsed = step.safeParse(value)
      if (parsed.success) return [parsed.data]
      context.addIssue({ code: 'custom', message: `cannot follow ${JSON.stringify(value).slice(0, 120)}` })
      return z.NEVER
    }),
  )
  return nested
}

const isSequence = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && 'type' in value && value.type === 'Sequence'

const normaliserSchema = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'StripAccents']) }),
  z.object({ type: z.literal('Prepend'), prepend: z.string() }),
  z.object({ type: z.literal('Replace'), pattern: patternSchema, content: z.string() }),
  z.object({ type: z.literal('Strip'), strip_left: z.boolean().default(true), strip_right: z.boolean().default(true) }),
])

const preTokenizerSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('Split'),
    pattern: patternSchema,
    behavior: behaviour,
    invert: z.boolean().default(false),
  }),
  z.object({
    type: z.literal('ByteLevel'),
    add_prefix_space: z.boolean().default(true),
    use_regex: z.boolean().default(true),
  }),
  z.object({
    type: z.literal('Metaspace'),
    replacement: z.string().default('▁'),
    prepend_scheme: prependScheme.optional(),
    add_prefix_space: z.boolean().optional(), // how it was written before prepend_scheme
    split: z.boolean().default(true),
  }),
  z.object({ type: z.literal('Digits'), individual_digits: z.boolean().default(false) }),
  z.object({ type: z.literal('Punctuation'), behavior: behaviour.default('Isolated') }),
  z.object({ type: z.enum(['Whitespace', 'WhitespaceSplit']) }),
])

const decoderSchema = z.discriminatedUnion('type', [
  z.object({ type: z.enum(['ByteLevel', 'ByteFallback', 'Fuse']) }),
  z.object({ type: z.literal('Replace'), pattern: patternSchema, content: z.string() }),
  z.object({
    type: z.literal('Strip'),
    content: z.string().length(1),
    start: z.number().int(),
    stop: z.number().int(),
  }),
  z.object({
    type: z.literal('Metaspace'),
    replacement: z.string().default('▁'),
    prepend_scheme: prependScheme.optional(),
    add_prefix_space: z.boolean().optional(),
  }),
])

const specialRef = z.object({ SpecialToken: z.object({ id: z.string() }) })
const sequenceRef = z.object({ Sequence: z.object({ id: z.string() }) })
const tokenPair = z.tuple([z.string(), z.number().int().nonnegative()])
const postProcessorSchema = z.discriminatedUnion('type', [
  z.object({ type: z.literal('ByteLevel') }),
  z.object({
    type: z.literal('TemplateProcessing'),
    single: z.array(z.union([specialRef, sequenceRef])),
    special_tokens: z.record(z.string(), z.object({ ids: z.array(z.number().int().nonnegative()) })),
  }),
  z.object({ type: z.enum(['RobertaProcessing', 'BertProcessing']), cls: tokenPair, sep: tokenPair }),
])

const addedTokenSchema = z.object({
  id: z.number().int().nonnegative(),
  content: z.string(),
  special: z.boolean().default(false),
  normalized: z.boolean().optional(),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  single_word: z.boolean().default(false),
})

const bpeSchema = z.object({
  type: z.literal('BPE').optional(), // old files leave it out
  unk_token: z.string().nullish(),
  continuing_subword_prefix: z.string().nullish(),
  end_of_word_suffix: z.string().nullish(),
  fuse_unk: z.boolean().nullish(),
  byte_fallback: z.boolean().nullish(),
  ignore_merges: z.boolean().nullish(),
  vocab: z.custom<Readonly<Record<string, unknown>>>((value) => typeof value === 'object' && value !== null), // each id is checked where it is read
  merges: z.custom<readonly unknown[]>((value) => Array.isArray(value)),
})

const publishedSchema = z.object({
  added_tokens: z.array(addedTokenSchema).nullish(),
  normalizer: steps(normaliserSchema, 'normalizers').default([]),
  pre_tokenizer: steps(preTokenizerSchema, 'pretokenizers').default([]),
  post_processor: steps(postProcessorSchema, 'processors').default([]),
  decoder: steps(decoderSchema, 'decoders').nullish(),
  model: bpeSchema,
})

export type Normaliser = z.infer<typeof normaliserSchema>
export type PreTokenizer = z.infer<typeof preTokenizerSchema>
export type Decoder = z.infer<typeof decoderSchema>
export type PostProcessor = z.infer<typeof postProcessorSchema>
export type AddedToken = z.infer<typeof addedTokenSchema>
export type BpeModel = z.infer<typeof bpeSchema>
export type PublishedTokenizer = z.infer<typeof publishedSchema>

/** Throws `invalid_argument` naming the file, the key, what it holds and what is wanted. */
export function parsePublished(json: Readonly<Record<string, unknown>>, path: string): PublishedTokenizer {
  const { model } = json
  const type = typeof model === 'object' && model !== null && 'type' in model ? model.type : undefined
  if (type !== undefined && type !== 'BPE') {
    throw new ClusterError('invalid_argument', `${path}: model.type: want BPE, got ${JSON.stringify(type)}`)
  }
  const parsed = publishedSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new ClusterError('invalid_argument', `${path}: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`)
}
