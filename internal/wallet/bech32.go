package wallet

import "strings"

const bech32Charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// bech32 encodes bytes as Bech32 (BIP-173): the only way that age offers to build its keys from raw bytes. hrp is lowercase.
func bech32(hrp string, payload []byte) string {
	data := fiveBits(payload)
	chk := bech32Polymod(append(append(bech32Expand(hrp), data...), 0, 0, 0, 0, 0, 0)) ^ 1
	var b strings.Builder
	b.Grow(len(hrp) + 1 + len(data) + 6)
	b.WriteString(hrp)
	b.WriteByte('1')
	for _, d := range data {
		b.WriteByte(bech32Charset[d])
	}
	for i := range 6 {
		b.WriteByte(bech32Charset[chk>>(5*(5-i))&31])
	}
	return b.String()
}

// fiveBits regroups bytes into groups of five bits, the last padded with zeros.
func fiveBits(in []byte) []byte {
	var acc uint32
	var bits uint
	out := make([]byte, 0, (len(in)*8+4)/5)
	for _, b := range in {
		acc = acc<<8 | uint32(b)
		for bits += 8; bits >= 5; bits -= 5 {
			out = append(out, byte(acc>>(bits-5))&31)
		}
		acc &= 1<<bits - 1
	}
	if bits > 0 {
		out = append(out, byte(acc<<(5-bits))&31)
	}
	return out
}

func bech32Expand(hrp string) []byte {
	out := make([]byte, 0, 2*len(hrp)+1)
	for i := range len(hrp) {
		out = append(out, hrp[i]>>5)
	}
	out = append(out, 0)
	for i := range len(hrp) {
		out = append(out, hrp[i]&31)
	}
	return out
}

func bech32Polymod(values []byte) uint32 {
	gen := [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3}
	chk := uint32(1)
	for _, v := range values {
		top := chk >> 25
		chk = (chk&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range gen {
			chk ^= g * (top >> i & 1)
		}
	}
	return chk
}
