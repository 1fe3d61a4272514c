// Completes the file descriptors that reflection serves, so that strict readers (grpcurl) take them as protoc's own:
// proto-loader names the implied entry message of a map field after the field, where the specification wants CamelCase
// with `Entry` behind it, and leaves out JSON names and the mark of proto3's optional fields.

import descriptor from 'protobufjs/ext/descriptor/index.js'

interface FieldDescriptor {
  readonly name: string
  readonly oneofIndex?: number
  typeName: string
  jsonName: string
  proto3Optional: boolean
}

interface MessageDescriptor {
  name: string
  readonly field: readonly FieldDescriptor[]
  readonly nestedType: readonly MessageDescriptor[]
  readonly oneofDecl: readonly { readonly name: string }[]
  readonly options?: { readonly mapEntry?: boolean } | null
}

interface Described {
  readonly fileDescriptorProtos: Buffer[]
}

const camelCase = (field: string): string =>
  field.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
const entryName = (field: string): string => `${camelCase(`_${field}`)}Entry`

function complete(message: MessageDescriptor): void {
  for (const nested of message.nestedType) {
    const field = message.field.find(({ typeName }) => typeName.split('.').at(-1) === nested.name)
    if (nested.options?.mapEntry === true && field !== undefined) {
      nested.name = entryName(field.name)
      field.typeName = nested.name
    }
    complete(nested)
  }
  for (const field of message.field) {
    field.jsonName = camelCase(field.name)
    const isInOneof = Object.hasOwn(field, 'oneofIndex')
    if (isInOneof && message.oneofDecl[field.oneofIndex ?? 0]?.name === `_${field.name}`) field.proto3Optional = true
  }
}

function mend(bytes: Buffer): Buffer {
  const decoded: unknown = descriptor.FileDescriptorProto.decode(bytes)
  const file = decoded as { readonly messageType: readonly MessageDescriptor[] } // what the library's type decodes to
  for (const message of file.messageType) complete(message)
  return Buffer.from(descriptor.FileDescriptorProto.encode(file).finish())
}

const isDescribed = (value: unknown): value is Described =>
  typeof value === 'object' && value !== null && 'fileDescriptorProtos' in value

/** The same package definition with complete descriptors. Every message has those of all files: each is mended once. */
export function withCompleteDescriptors<T extends object>(definition: T): T {
  const known = new Map<Buffer, Buffer>()
  const mendOnce = (bytes: Buffer): Buffer => {
    const complete = known.get(bytes) ?? mend(bytes)
    known.set(bytes, complete)
    return complete
  }
  const mended = Object.entries(definition).map(([name, value]: [string, unknown]) => {
    if (!isDescribed(value)) return [name, value]
    return [name, { ...value, fileDescriptorProtos: value.fileDescriptorProtos.map(mendOnce) }]
  })
  return Object.fromEntries(mended) as T // the same keys and values, but for the descriptors' bytes
}
