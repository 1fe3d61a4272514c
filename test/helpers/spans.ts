// Spans as they lie in the files of a trace folder.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

interface Attribute {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

export interface FileSpan {
  readonly service: string // the instance
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly Attribute[]
  readonly events: readonly { readonly name: string; readonly attributes: readonly Attribute[] }[]
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly status: { readonly code: number }
}

interface ExportRequest {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly Attribute[] }
    readonly scopeSpans: readonly { readonly spans: readonly Omit<FileSpan, 'service'>[] }[]
  }[]
}

export const attributeOf = (span: FileSpan | undefined, key: string): unknown =>
  Object.values(span?.attributes.find((attribute) => attribute.key === key)?.value ?? {})[0]

/** All spans of a folder's files. */
export function readSpans(folder: string): FileSpan[] {
  const files = readdirSync(folder).filter((file) => /^spans-.*\.jsonl$/.test(file))
  const lines = files.flatMap((file) => readFileSync(join(folder, file), 'utf8').split('\n').filter(Boolean))
  return lines.flatMap((line) =>
    // Written by the exporter under test, in OTLP's form.
    (JSON.parse(line) as ExportRequest).resourceSpans.flatMap(({ resource, scopeSpans }) => {
      const service = String(resource.attributes.find(({ key }) => key === 'service.instance.id')?.value.stringValue)
      return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, service })))
    }),
  )
}
