// The part of the ONNX schema (onnx.proto3, IR version 9) that Banyan's graphs use, as protobufjs reflection.
// Field numbers are those of the published specification.

import protobuf from 'protobufjs'

type Fields = Record<string, { id: number; type: string; rule?: 'repeated' }>

const one = (id: number, type: string): { id: number; type: string } => ({ id, type })
const many = (id: number, type: string): { id: number; type: string; rule: 'repeated' } => ({
  id,
  type,
  rule: 'repeated',
})

const MESSAGES: Record<string, Fields> = {
  ModelProto: {
    irVersion: one(1, 'int64'),
    producerName: one(2, 'string'),
    graph: one(7, 'GraphProto'),
    opsetImport: many(8, 'OperatorSetIdProto'),
  },
  OperatorSetIdProto: { domain: one(1, 'string'), version: one(2, 'int64') },
  GraphProto: {
    node: many(1, 'NodeProto'),
    name: one(2, 'string'),
    initializer: many(5, 'TensorProto'),
    input: many(11, 'ValueInfoProto'),
    output: many(12, 'ValueInfoProto'),
  },
  NodeProto: {
    input: many(1, 'string'),
    output: many(2, 'string'),
    name: one(3, 'string'),
    opType: one(4, 'string'),
    attribute: many(5, 'AttributeProto'),
    domain: one(7, 'string'),
  },
  AttributeProto: {
    name: one(1, 'string'),
    f: one(2, 'float'),
    i: one(3, 'int64'),
    s: one(4, 'bytes'),
    g: one(6, 'GraphProto'),
    ints: many(8, 'int64'),
    type: one(20, 'int32'),
  },
  TensorProto: {
    dims: many(1, 'int64'),
    dataType: one(2, 'int32'),
    name: one(8, 'string'),
    rawData: one(9, 'bytes'),
    externalData: many(13, 'StringStringEntryProto'),
    dataLocation: one(14, 'int32'),
  },
  StringStringEntryProto: { key: one(1, 'string'), value: one(2, 'string') },
  ValueInfoProto: { name: one(1, 'string'), type: one(2, 'TypeProto') },
  TypeProto: { tensorType: one(1, 'TypeProtoTensor') },
  TypeProtoTensor: { elemType: one(1, 'int32'), shape: one(2, 'TensorShapeProto') },
  TensorShapeProto: { dim: many(1, 'Dimension') },
  Dimension: { dimValue: one(1, 'int64'), dimParam: one(2, 'string') },
}

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(Object.entries(MESSAGES).map(([name, fields]) => [name, { fields }])),
})
const modelType = root.lookupType('ModelProto')

/** ONNX element types by their specification numbers. */
export const ELEMENT = { float: 1, uint8: 2, int32: 6, int64: 7, bool: 9, float16: 10 } as const

export const ATTRIBUTE = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const

/** Bytes of a ModelProto given in protobufjs' plain form. */
export function encodeModel(model: Record<string, unknown>): Uint8Array {
  return modelType.encode(modelType.fromObject(model)).finish()
}
