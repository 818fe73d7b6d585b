package powercut

import "math/rand/v2"

// Choice is a kind of request and how often it comes.
type Choice struct {
	Weight int
	Kind   Kind
	FUA    bool
	NoHole bool // of WRITE_ZEROES
}

// Mix is what a load consists of.
type Mix struct {
	Name    string
	Choices []Choice
}

var fuaOnly = Mix{"FUA only", []Choice{{Weight: 1, Kind: Write, FUA: true}}}

// Mixes are the loads that durability is tried with.
var Mixes = []Mix{
	{"everything", []Choice{
		{Weight: 40, Kind: Write}, {Weight: 20, Kind: Write, FUA: true},
		{Weight: 5, Kind: WriteZeroes}, {Weight: 5, Kind: WriteZeroes, FUA: true}, {Weight: 4, Kind: WriteZeroes, NoHole: true},
		{Weight: 5, Kind: Trim}, {Weight: 5, Kind: Trim, FUA: true}, {Weight: 16, Kind: Flush},
	}},
	fuaOnly,
	{"writes, then a flush", []Choice{{Weight: 12, Kind: Write}, {Weight: 1, Kind: Flush}}},
	{"plain and FUA writes", []Choice{{Weight: 3, Kind: Write}, {Weight: 2, Kind: Write, FUA: true}}},
	{"zeroes and trims with FUA", []Choice{
		{Weight: 4, Kind: Write}, {Weight: 4, Kind: Write, FUA: true}, {Weight: 2, Kind: WriteZeroes, FUA: true},
		{Weight: 2, Kind: WriteZeroes, FUA: true, NoHole: true}, {Weight: 4, Kind: Trim, FUA: true}, {Weight: 1, Kind: Flush},
	}},
	{"zeroes and trims, then a flush", []Choice{
		{Weight: 6, Kind: Write}, {Weight: 3, Kind: WriteZeroes}, {Weight: 2, Kind: WriteZeroes, NoHole: true},
		{Weight: 3, Kind: Trim}, {Weight: 2, Kind: Flush},
	}},
}

// pick chooses one.
func (m Mix) pick(rng *rand.Rand) Choice {
	total := 0
	for _, c := range m.Choices {
		total += c.Weight
	}
	at := rng.IntN(total)
	for _, c := range m.Choices {
		if at -= c.Weight; at < 0 {
			return c
		}
	}
	panic("unreachable: the weights are the total")
}
