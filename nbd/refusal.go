package nbd

// refusal is why a request is not carried out: an error value, and a line for
// people, which clients with structured replies get to see. Without an error
// value it is none.
type refusal struct {
	errno uint32
	why   string
}

// What requests are refused for before they become a SCSI command (row 20).
var (
	granted           = refusal{}
	refuseCommand     = refusal{errnoInval, "there is no such command"}
	refuseFlags       = refusal{errnoInval, "the command does not have all of these flags"}
	refusePayload     = refusal{errnoInval, "the command has no payload"}
	refuseNoPayload   = refusal{errnoInval, "a WRITE needs the flag PAYLOAD_LEN"}
	refuseReadOnly    = refusal{errnoPerm, "the export is read-only"}
	refuseTrim        = refusal{errnoInval, "the export does not offer TRIM"}
	refuseCache       = refusal{errnoInval, "the export does not offer CACHE"}
	refuseTooLong     = refusal{errnoInval, "longer than the export's maximum payload"}
	refusePastEnd     = refusal{errnoInval, "the request goes past the end of the export"}
	refuseNoRoom      = refusal{errnoNoSpace, "the request goes past the end of the export"}
	refuseUnaligned   = refusal{errnoInval, "offset and length have to be multiples of the export's minimum block size"}
	refuseSlowZeroes  = refusal{errnoNotSup, "this would not be faster than writing zeroes"}
	refuseNoContext   = refusal{errnoInval, "no metadata context was negotiated for this export"}
	refuseNoLength    = refusal{errnoInval, "there is no status of zero bytes"}
	refuseContexts    = refusal{errnoInval, "the payload has to be a length and the ids of negotiated contexts, each once"}
	refuseShutdown    = refusal{errnoShutdown, "the server is shutting down"}
	refuseShortAnswer = refusal{errnoIO, "the device returned less than it was asked for"}
	refuseNoData      = refusal{errnoIO, "the device took no data"}
)
