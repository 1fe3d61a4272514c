// Byte-level BPE writes every byte as one printable character (GPT-2's published table): the printable bytes of
// Latin-1 stand for themselves, the others for characters from U+0100 on.

function byteOfCharacter(): ReadonlyMap<string, number> {
  const isPrintable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff)
  const table = new Map<string, number>()
  let next = 0x100
  for (let byte = 0; byte < 256; byte++) table.set(String.fromCharCode(isPrintable(byte) ? byte : next++), byte)
  return table
}

const BYTES = byteOfCharacter()

/** The bytes that a byte-level token stands for; a character outside the table stands for its UTF-8 bytes. */
export function byteLevelBytes(piece: string): Uint8Array {
  const bytes: number[] = []
  for (const character of piece) {
    const byte = BYTES.get(character)
    if (byte === undefined) bytes.push(...Buffer.from(character))
    else bytes.push(byte)
  }
  return Uint8Array.from(bytes)
}
