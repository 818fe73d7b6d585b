package scsi

// The additional sense codes that are used here (SPC-4, annex F).
const (
	ASCNone                     ASC = 0x0000
	ASCNotReadyBecomingReady    ASC = 0x0401
	ASCNotReadyInitCmdRequired  ASC = 0x0402
	ASCWriteError               ASC = 0x0C00
	ASCUnrecoveredRead          ASC = 0x1100
	ASCParameterListLength      ASC = 0x1A00
	ASCMiscompareVerify         ASC = 0x1D00
	ASCInvalidOpcode            ASC = 0x2000
	ASCLBAOutOfRange            ASC = 0x2100
	ASCInvalidFieldInCDB        ASC = 0x2400
	ASCLUNotSupported           ASC = 0x2500
	ASCInvalidFieldInParameters ASC = 0x2600
	ASCWriteProtected           ASC = 0x2700
	ASCSpaceAllocFailed         ASC = 0x2707
	ASCPowerOnReset             ASC = 0x2900
	ASCDeviceInternalReset      ASC = 0x2904
	ASCNexusLoss                ASC = 0x2907
	ASCModeParametersChanged    ASC = 0x2A01
	ASCCapacityChanged          ASC = 0x2A09
	ASCCommandsClearedByOther   ASC = 0x2F00
	ASCSavingNotSupported       ASC = 0x3900
	ASCMediumNotPresent         ASC = 0x3A00
	ASCReportedLUNsChanged      ASC = 0x3F0E
	ASCInternalTargetFailure    ASC = 0x4400
	ASCInsufficientResources    ASC = 0x5503
)

var ascNames = map[ASC]string{
	ASCNone:                     "NO ADDITIONAL SENSE INFORMATION",
	ASCNotReadyBecomingReady:    "LOGICAL UNIT IS IN PROCESS OF BECOMING READY",
	ASCNotReadyInitCmdRequired:  "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED",
	ASCWriteError:               "WRITE ERROR",
	ASCUnrecoveredRead:          "UNRECOVERED READ ERROR",
	ASCParameterListLength:      "PARAMETER LIST LENGTH ERROR",
	ASCMiscompareVerify:         "MISCOMPARE DURING VERIFY OPERATION",
	ASCInvalidOpcode:            "INVALID COMMAND OPERATION CODE",
	ASCLBAOutOfRange:            "LOGICAL BLOCK ADDRESS OUT OF RANGE",
	ASCInvalidFieldInCDB:        "INVALID FIELD IN CDB",
	ASCLUNotSupported:           "LOGICAL UNIT NOT SUPPORTED",
	ASCInvalidFieldInParameters: "INVALID FIELD IN PARAMETER LIST",
	ASCWriteProtected:           "WRITE PROTECTED",
	ASCSpaceAllocFailed:         "SPACE ALLOCATION FAILED WRITE PROTECT",
	ASCPowerOnReset:             "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED",
	ASCDeviceInternalReset:      "DEVICE INTERNAL RESET",
	ASCNexusLoss:                "I_T NEXUS LOSS OCCURRED",
	ASCModeParametersChanged:    "MODE PARAMETERS CHANGED",
	ASCCapacityChanged:          "CAPACITY DATA HAS CHANGED",
	ASCCommandsClearedByOther:   "COMMANDS CLEARED BY ANOTHER INITIATOR",
	ASCSavingNotSupported:       "SAVING PARAMETERS NOT SUPPORTED",
	ASCMediumNotPresent:         "MEDIUM NOT PRESENT",
	ASCReportedLUNsChanged:      "REPORTED LUNS DATA HAS CHANGED",
	ASCInternalTargetFailure:    "INTERNAL TARGET FAILURE",
	ASCInsufficientResources:    "INSUFFICIENT RESOURCES",
}

// The sense data that is sent here. Don't assign to them; positions are added
// with WithInfo, AtCDB and AtParameter.
var (
	SenseNone                        = Sense{}
	SenseNotReady                    = Sense{Key: KeyNotReady, ASC: ASCNotReadyInitCmdRequired}
	SenseBecomingReady               = Sense{Key: KeyNotReady, ASC: ASCNotReadyBecomingReady}
	SenseMediumNotPresent            = Sense{Key: KeyNotReady, ASC: ASCMediumNotPresent}
	SenseWriteError                  = Sense{Key: KeyMediumError, ASC: ASCWriteError}
	SenseReadError                   = Sense{Key: KeyMediumError, ASC: ASCUnrecoveredRead}
	SenseHardwareInternalFailure     = Sense{Key: KeyHardwareError, ASC: ASCInternalTargetFailure}
	SenseParameterListLength         = Sense{Key: KeyIllegalRequest, ASC: ASCParameterListLength}
	SenseInvalidOpcode               = Sense{Key: KeyIllegalRequest, ASC: ASCInvalidOpcode}
	SenseLBAOutOfRange               = Sense{Key: KeyIllegalRequest, ASC: ASCLBAOutOfRange}
	SenseInvalidFieldInCDB           = Sense{Key: KeyIllegalRequest, ASC: ASCInvalidFieldInCDB}
	SenseLUNotSupported              = Sense{Key: KeyIllegalRequest, ASC: ASCLUNotSupported}
	SenseInvalidFieldInParameterList = Sense{Key: KeyIllegalRequest, ASC: ASCInvalidFieldInParameters}
	SenseSavingNotSupported          = Sense{Key: KeyIllegalRequest, ASC: ASCSavingNotSupported}
	SenseInsufficientResources       = Sense{Key: KeyIllegalRequest, ASC: ASCInsufficientResources}
	SensePowerOnReset                = Sense{Key: KeyUnitAttention, ASC: ASCPowerOnReset}
	SenseDeviceInternalReset         = Sense{Key: KeyUnitAttention, ASC: ASCDeviceInternalReset}
	SenseNexusLoss                   = Sense{Key: KeyUnitAttention, ASC: ASCNexusLoss}
	SenseModeParametersChanged       = Sense{Key: KeyUnitAttention, ASC: ASCModeParametersChanged}
	SenseCapacityChanged             = Sense{Key: KeyUnitAttention, ASC: ASCCapacityChanged}
	SenseCommandsClearedByOther      = Sense{Key: KeyUnitAttention, ASC: ASCCommandsClearedByOther}
	SenseReportedLUNsChanged         = Sense{Key: KeyUnitAttention, ASC: ASCReportedLUNsChanged}
	SenseWriteProtected              = Sense{Key: KeyDataProtect, ASC: ASCWriteProtected}
	SenseSpaceAllocFailed            = Sense{Key: KeyDataProtect, ASC: ASCSpaceAllocFailed}
	SenseAbortedInternalFailure      = Sense{Key: KeyAbortedCommand, ASC: ASCInternalTargetFailure}
	SenseMiscompare                  = Sense{Key: KeyMiscompare, ASC: ASCMiscompareVerify}
)
