"""Nothing, under SimpleITK's name: modules of nnU-Net import it that only its readers of SimpleITK use.

Found only where the package is not installed. nnU-Net then reads and writes NIfTI files by its NibabelIO.
"""
